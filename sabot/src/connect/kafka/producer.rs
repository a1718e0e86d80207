//! Sends messages, and knows whether they have arrived.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::client::{again, config, error, refused};
use crate::connect::KafkaTopic;
use crate::{Error, Result};

/// How long to wait until messages have arrived, or a transaction has begun or ended.
const DONE: Duration = Duration::from_secs(60);
/// How long a broker keeps a transaction open that nobody ends, in milliseconds.
const OPEN: &str = "300000";

/// What became of messages: the first error.
#[derive(Default)]
struct Fate(Mutex<Option<KafkaError>>);

impl ClientContext for Fate {
    fn error(&self, _error: KafkaError, _reason: &str) {}
}
impl ProducerContext for Fate {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((e, _)) = result
            && let Ok(mut first) = self.0.lock()
        {
            first.get_or_insert_with(|| e.clone());
        }
    }
}

/// A connection that writes.
pub(super) struct Producer {
    topic: KafkaTopic,
    /// Whether what has not arrived is undone, and can be sent again.
    undone: bool,
    inner: BaseProducer<Fate>,
}

impl Producer {
    /// One whose messages arrive once each, as long as it lives; with an identity also in transactions. With it, a producer of the same identity
    /// that lives elsewhere is shut out, and what it had begun is undone.
    ///
    /// # Errors
    /// If the brokers cannot be reached, or refuse.
    pub(super) fn open(topic: &KafkaTopic, identity: Option<&str>) -> Result<Self> {
        let mut config = config(topic)?;
        config.set("enable.idempotence", "true");
        for (name, value) in [("linger.ms", "5"), ("partitioner", "murmur2_random")] {
            if !topic.client.contains_key(name) {
                config.set(name, value);
            }
        }
        if let Some(identity) = identity {
            config.set("transactional.id", identity).set("transaction.timeout.ms", OPEN);
        }
        let failed = |e: KafkaError| error(topic, "cannot begin to write", &e);
        let inner: BaseProducer<Fate> = config.create_with_context(Fate::default()).map_err(failed)?;
        if identity.is_some() {
            inner.init_transactions(DONE).map_err(failed)?;
        }
        Ok(Producer { topic: topic.clone(), undone: identity.is_some(), inner })
    }
    /// What went wrong: if nothing can be sent any more, why.
    fn failed(&self, what: &str) -> impl Fn(KafkaError) -> Error {
        move |e| match self.inner.client().fatal_error() {
            Some((code, _)) => error(&self.topic, what, &KafkaError::Global(code)),
            None => error(&self.topic, what, &e),
        }
    }
    /// The same for messages. Why one was given up, the library does not always say: all of a transaction can be sent again, unless a broker
    /// refuses them.
    fn lost(&self, what: &str) -> impl Fn(KafkaError) -> Error {
        move |e| {
            let e = self.cause(e);
            let refused = e.rdkafka_error_code().is_some_and(refused);
            if self.undone && !refused && self.inner.client().fatal_error().is_none() {
                return again(self.topic.to_string(), what, &e);
            }
            self.failed(what)(e)
        }
    }
    /// Once a transaction has failed, messages are thrown away, which says nothing; but no other can begin, and that says why.
    fn cause(&self, e: KafkaError) -> KafkaError {
        let follows = matches!(e.rdkafka_error_code(), Some(Code::PurgeQueue | Code::PurgeInflight | Code::State));
        match self.undone && follows {
            true => match self.inner.begin_transaction() {
                Err(KafkaError::Transaction(why)) if why.txn_requires_abort() || why.is_fatal() => KafkaError::Transaction(why),
                _ => e,
            },
            false => e,
        }
    }
    /// Sends a message, without a value a tombstone; it has not arrived yet.
    ///
    /// # Errors
    /// If it, or one before it, cannot be sent.
    pub(super) fn send(&self, topic: &str, partition: Option<i32>, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<()> {
        let begun = Instant::now();
        loop {
            let mut record = BaseRecord::<[u8], [u8]>::to(topic);
            record.payload = value;
            record.partition = partition;
            record.key = key;
            match self.inner.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(Code::QueueFull), _)) if begun.elapsed() < DONE => {
                    self.inner.poll(Duration::from_millis(20));
                    self.fate()?;
                }
                Err((e, _)) => {
                    // if the transaction has failed, the message before that did not arrive tells why
                    self.hear()?;
                    return Err(self.lost("cannot send a message")(e));
                }
            }
        }
        Ok(())
    }
    /// Hears what became of messages, without waiting.
    ///
    /// # Errors
    /// If one did not arrive.
    pub(super) fn hear(&self) -> Result<()> {
        self.inner.poll(Duration::ZERO);
        self.fate()
    }
    fn fate(&self) -> Result<()> {
        let first = self.inner.context().0.lock().map_or(None, |first| first.clone());
        first.map_or(Ok(()), |e| Err(self.lost("a message did not arrive")(e)))
    }
    /// Waits until all messages have arrived.
    ///
    /// # Errors
    /// If one did not.
    pub(super) fn flush(&self) -> Result<()> {
        self.inner.flush(DONE).map_err(self.failed("messages did not arrive"))?;
        self.fate()
    }
    /// Begins a transaction.
    ///
    /// # Errors
    /// If the last has not ended.
    pub(super) fn begin(&self) -> Result<()> {
        self.inner.begin_transaction().map_err(self.failed("cannot begin a transaction"))
    }
    /// Ends a transaction: all of it is there, or, after an error, perhaps nothing.
    ///
    /// # Errors
    /// If it is not known to have ended.
    pub(super) fn commit(&self) -> Result<()> {
        self.inner.flush(DONE).map_err(self.failed("messages did not arrive"))?;
        self.fate()?;
        self.inner.commit_transaction(DONE).map_err(self.failed("cannot commit a transaction"))
    }
}
