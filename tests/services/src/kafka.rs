//! The Kafka broker.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

/// How long to wait for the broker.
const LONG: Duration = Duration::from_secs(60);

/// A Kafka broker of this process.
#[derive(Debug)]
pub struct Kafka {
    dir: PathBuf,
    port: u16,
    controller: u16,
}

/// A message that a consumer has seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The partition.
    pub partition: i32,
    /// The place in it.
    pub offset: i64,
    /// The key.
    pub key: Option<String>,
    /// The value.
    pub value: Option<String>,
}

impl Kafka {
    /// The broker that all tests share.
    pub fn shared() -> Option<&'static Kafka> {
        static SHARED: OnceLock<Result<Kafka, String>> = OnceLock::new();
        crate::needed("Kafka", SHARED.get_or_init(|| Kafka::start("kafka")))
    }
    /// A broker of one's own, to be stopped.
    pub fn own(name: &str) -> Option<Kafka> {
        let started: &'static Result<Kafka, String> = Box::leak(Box::new(Kafka::start(name)));
        crate::needed("Kafka", started).map(|k| Kafka { dir: k.dir.clone(), ..*k })
    }
    fn start(name: &str) -> Result<Kafka, String> {
        let broker = Kafka { dir: crate::place(name), port: crate::free_port(), controller: crate::free_port() };
        broker.go(Some(std::process::id()))?;
        broker.wait();
        Ok(broker)
    }
    fn go(&self, watch: Option<u32>) -> Result<(), String> {
        let (dir, port, controller) = (self.dir.display().to_string(), self.port.to_string(), self.controller.to_string());
        let watch = watch.map(|w| w.to_string());
        let mut args = vec!["start", &dir, &port, &controller];
        args.extend(watch.as_deref());
        crate::script("kafka.sh", &args).map(drop)
    }
    /// Waits until it answers.
    fn wait(&self) {
        let begun = Instant::now();
        let client: BaseConsumer = self.config().create().expect("a client");
        while client.fetch_metadata(None, Duration::from_secs(1)).map_or(true, |m| m.brokers().is_empty()) {
            assert!(begun.elapsed() < LONG, "the broker does not answer");
        }
    }
    /// Kills it, and starts it again.
    pub fn crash(&self, away: Duration) {
        crate::script("kafka.sh", &["stop", &self.dir.display().to_string()]).expect("stops");
        std::thread::sleep(away);
        self.go(None).expect("starts again");
        self.wait();
    }
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", format!("127.0.0.1:{}", self.port));
        config
    }
    /// The URI of a topic.
    pub fn uri(&self, topic: &str, options: &str) -> String {
        let mark = if options.is_empty() { "" } else { "?" };
        format!("kafka://127.0.0.1:{}/{topic}{mark}{options}", self.port)
    }
    /// Makes a topic of a name that is new.
    pub fn topic(&self, name: &str, partitions: i32) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}", NUMBER.fetch_add(1, SeqCst));
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("a client");
        let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let made = block_on(admin.create_topics([&new], &AdminOptions::new().operation_timeout(Some(LONG)))).expect("makes a topic");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        name
    }
    /// Adds partitions.
    pub fn grow(&self, topic: &str, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("a client");
        let new = NewPartitions::new(topic, partitions);
        let made = block_on(admin.create_partitions([&new], &AdminOptions::new().operation_timeout(Some(LONG)))).expect("adds partitions");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }
    /// A producer; with an identity one of transactions.
    pub fn producer(&self, identity: Option<&str>) -> BaseProducer {
        producer(self.config(), identity)
    }
    /// Sends messages to a partition, and waits until they have arrived.
    pub fn send<'a>(&self, topic: &str, partition: i32, values: impl IntoIterator<Item = &'a str>) {
        let producer = self.producer(None);
        send(&producer, topic, partition, values);
    }
    /// The messages that are committed, up to the end of each partition.
    pub fn committed(&self, topic: &str) -> Vec<Seen> {
        committed(self.config(), topic)
    }
}

/// A producer; with an identity one of transactions.
pub(crate) fn producer(mut config: ClientConfig, identity: Option<&str>) -> BaseProducer {
    config.set("enable.idempotence", "true");
    if let Some(identity) = identity {
        config.set("transactional.id", identity);
    }
    let producer: BaseProducer = config.create().expect("a producer");
    if identity.is_some() {
        producer.init_transactions(LONG).expect("begins");
    }
    producer
}

/// The messages that are committed, up to the end of each partition.
pub(crate) fn committed(mut config: ClientConfig, topic: &str) -> Vec<Seen> {
    config.set("group.id", "tests").set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    config.set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let told = consumer.fetch_metadata(Some(topic), LONG).expect("partitions");
    let partitions: Vec<i32> = told.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect();
    let mut list = TopicPartitionList::new();
    for partition in &partitions {
        list.add_partition_offset(topic, *partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("assigns");
    let (mut open, mut seen, begun) = (partitions.len(), Vec::new(), Instant::now());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    while open > 0 {
        assert!(begun.elapsed() < LONG, "the end of {topic} does not come");
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(m)) => {
                seen.push(Seen { partition: m.partition(), offset: m.offset(), key: m.key().map(text), value: m.payload().map(text) })
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(e)) => eprintln!("reading {topic}: {e}"),
            None => {}
        }
    }
    seen.sort();
    seen
}

/// Sends messages to a partition, and waits until they have arrived.
pub fn send<'a>(producer: &BaseProducer, topic: &str, partition: i32, values: impl IntoIterator<Item = &'a str>) {
    for value in values {
        let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(value).key("k");
        producer.send(record).map_err(|(e, _)| e).expect("sends");
        producer.poll(Duration::ZERO);
    }
    producer.flush(LONG).expect("arrives");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}
