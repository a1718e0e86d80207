//! A cluster of brokers in this process that fail on demand.
//!
//! It is librdkafka's own mock, so the connectors speak to it through sockets, as to any broker. It keeps messages and takes part in transactions.
//! What it does not do: undo a transaction, hide what is not committed, shut out a producer when another one of its identity begins, and make topics
//! when it is asked to. What depends on that is tested beside the real broker only.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext};

pub use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr as Fault};

use crate::Seen;

/// A cluster, which ends with this.
pub struct Faulty {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Faulty {
    /// Brokers 1, 2 and so on.
    pub fn brokers(count: i32) -> Faulty {
        Faulty { cluster: MockCluster::new(count).expect("a cluster") }
    }
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap_servers());
        config
    }
    /// The URI of a topic.
    pub fn uri(&self, topic: &str, options: &str) -> String {
        let mark = if options.is_empty() { "" } else { "?" };
        format!("kafka://{}/{topic}{mark}{options}", self.cluster.bootstrap_servers())
    }
    /// Makes a topic, of whose partitions these brokers are the leaders.
    pub fn topic(&self, name: &str, leaders: &[i32]) {
        self.cluster.create_topic(name, leaders.len() as i32, 1).expect("makes a topic");
        for (partition, leader) in (0..).zip(leaders) {
            self.lead(name, partition, *leader);
        }
    }
    /// Gives a partition another leader. All brokers have all messages. (The mock does not live through requests for a partition without one.)
    pub fn lead(&self, topic: &str, partition: i32, broker: i32) {
        self.cluster.partition_leader(topic, partition, Some(broker)).expect("moves");
    }
    /// A broker, or all with -1, closes its connections and takes no new one.
    pub fn down(&self, broker: i32) {
        self.cluster.broker_down(broker).expect("goes");
    }
    /// It is back.
    pub fn up(&self, broker: i32) {
        self.cluster.broker_up(broker).expect("comes");
    }
    /// Each answer of a broker, or of all with -1, takes so long.
    pub fn slow(&self, broker: i32, delay: Duration) {
        self.cluster.broker_round_trip_time(broker, delay).expect("waits");
    }
    /// The next requests of this kind fail so, one after the other; `RD_KAFKA_RESP_ERR__TRANSPORT` closes the connection.
    pub fn fail(&self, request: Request, faults: &[Fault]) {
        self.cluster.request_errors(request, faults);
    }
    /// Requests of this kind fail no more.
    pub fn mend(&self, request: Request) {
        self.cluster.clear_request_errors(request);
    }
    /// What is said of a topic when brokers are asked for its partitions: `RD_KAFKA_RESP_ERR_NO_ERROR` for nothing.
    pub fn topic_fails(&self, topic: &str, fault: Fault) {
        self.cluster.topic_error(topic, fault).expect("fails");
    }
    /// Sends messages to a partition, and waits until they have arrived.
    pub fn send<'a>(&self, topic: &str, partition: i32, values: impl IntoIterator<Item = &'a str>) {
        crate::send(&self.producer(), topic, partition, values);
    }
    /// A producer, whose messages wait for a broker that is away, and go when it is back.
    pub fn producer(&self) -> BaseProducer {
        let mut config = self.config();
        config.set("reconnect.backoff.max.ms", "200");
        crate::kafka::producer(config, None)
    }
    /// The messages of a topic, whether they are committed or not.
    pub fn messages(&self, topic: &str) -> Vec<Seen> {
        crate::kafka::committed(self.config(), topic)
    }
}
