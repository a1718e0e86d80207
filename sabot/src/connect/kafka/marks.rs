//! The topic that notes, for each sink of a job that keeps checkpoints, the last one whose rows have arrived.
//!
//! A mark is a message of the same transaction as the rows. So if a process finds the mark of a checkpoint, its rows are there, and if it does not,
//! they are not and never will be: the producer that could have added them has been shut out. Nobody has to ask a broker what became of a
//! transaction. A mark also holds the generation of the process that wrote it, so one that was believed dead finds that another has taken over.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::client::{ANSWER, config, error, passes};
use crate::connect::KafkaTopic;
use crate::{Error, Result};

/// How long to wait for transactions of others that are open in the topic. Brokers end those that nobody ends.
const OTHERS: Duration = Duration::from_secs(330);
/// How long to wait for a broker that is away.
const BACK: Duration = Duration::from_secs(30);
/// The partition of all marks.
pub(super) const PARTITION: i32 = 0;

/// What is noted of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) epoch: u64,
    pub(super) generation: u64,
}

/// Makes the topic if it does not exist.
///
/// # Errors
/// If it cannot be made.
pub(super) fn create(topic: &KafkaTopic, markers: &str) -> Result<()> {
    let what = format!("cannot make the topic `{markers}`, which notes what has arrived");
    let failed = |e: KafkaError| error(topic, &what, &e);
    let admin: AdminClient<DefaultClientContext> = config(topic)?.create().map_err(failed)?;
    let known = admin.inner().fetch_metadata(None, ANSWER).map_err(failed)?;
    if known.topics().iter().any(|t| t.name() == markers) {
        return Ok(());
    }
    let new = NewTopic::new(markers, 1, TopicReplication::Fixed(-1)).set("cleanup.policy", "compact");
    let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
    for made in wait(admin.create_topics([&new], &options)).map_err(failed)? {
        match made {
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(failed(KafkaError::AdminOp(code))),
        }
    }
    Ok(())
}

/// The mark of `sink`. To be asked after its producer has begun, so that no other can add one.
///
/// # Errors
/// If the topic cannot be read.
pub(super) fn read(topic: &KafkaTopic, markers: &str, sink: &str) -> Result<Option<Mark>> {
    let what = format!("cannot read the topic `{markers}`, which notes what has arrived");
    let failed = |e: KafkaError| error(topic, &what, &e);
    let late = || Error::io(topic.to_string(), &what, std::io::ErrorKind::TimedOut.into());
    let ends = |isolation: &str| -> Result<(i64, i64)> {
        let consumer: BaseConsumer = config(topic)?.set("isolation.level", isolation).create().map_err(failed)?;
        consumer.fetch_watermarks(markers, PARTITION, ANSWER).map_err(failed)
    };
    // All that there is, also behind a transaction of another job that is open: what is behind it does not show until that ends.
    let (start, end) = ends("read_uncommitted")?;
    let begun = Instant::now();
    while ends("read_committed")?.1 < end {
        if begun.elapsed() > OTHERS {
            return Err(late());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    if start >= end {
        return Ok(None);
    }
    let mut config = config(topic)?;
    config.set("group.id", "sabot").set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().map_err(failed)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(markers, PARTITION, Offset::Beginning).map_err(failed)?;
    consumer.assign(&list).map_err(failed)?;
    let (mut mark, begun) = (None, Instant::now());
    loop {
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) if message.key() == Some(sink.as_bytes()) => {
                let read = serde_json::from_slice::<Mark>(message.payload().unwrap_or_default());
                mark = Some(read.map_err(|e| Error::Checkpoint(format!("a mark in the topic `{markers}` is broken: {e}")))?);
            }
            Some(Ok(_)) => {}
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(mark),
            Some(Err(e)) if !e.rdkafka_error_code().is_some_and(passes) => return Err(failed(e)),
            // the library goes on by itself when a broker is back
            Some(Err(_)) | None if begun.elapsed() > BACK => return Err(late()),
            Some(Err(_)) | None => {}
        }
    }
}

/// Waits for a future that wakes by itself.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}
