//! Whether the broker that has a partition answers.
//!
//! A consumer at the end of its partition hears nothing, whether there is nothing or nobody. The library tells each second which broker it asks
//! for the partition, whether it is connected, and how long ago that broker said something; one with nothing to send says so after
//! `fetch.wait.max.ms`. Other brokers of the cluster may be up meanwhile, or down: they do not have the partition.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use serde::Deserialize;

/// How much longer than it was told to wait a broker may be silent.
const SILENT: Duration = Duration::from_secs(2);

pub(super) struct Link {
    topic: String,
    partition: i32,
    /// How long the broker may be silent.
    silent: Duration,
    answers: AtomicBool,
}

/// What the library tells, as far as it matters here.
#[derive(Deserialize)]
struct Statistics {
    brokers: HashMap<String, Broker>,
    topics: HashMap<String, Topic>,
}
#[derive(Deserialize)]
struct Broker {
    nodeid: i32,
    state: String,
    /// Microseconds since it said something; -1 if it did not.
    rxidle: i64,
}
#[derive(Deserialize)]
struct Topic {
    partitions: HashMap<String, Partition>,
}
#[derive(Deserialize)]
struct Partition {
    /// Which is asked for messages; -1 if that is not known.
    broker: i32,
}

impl Link {
    /// `wait`: how long a broker waits for messages before it says that there are none.
    pub(super) fn new(topic: &str, partition: i32, wait: Duration) -> Self {
        Link { topic: topic.to_owned(), partition, silent: wait + SILENT, answers: AtomicBool::new(false) }
    }
    /// Whether it answered when that was last looked at. Not before the first look: a single answer, of a connection that is new, may come before the
    /// error that tells what it is worth.
    pub(super) fn answers(&self) -> bool {
        self.answers.load(Relaxed)
    }
    fn judge(&self, told: &Statistics) -> bool {
        let partition = told.topics.get(&self.topic).and_then(|t| t.partitions.get(&self.partition.to_string()));
        let Some(asked) = partition.map(|p| p.broker).filter(|id| *id >= 0) else { return false };
        let in_time = |idle: i64| u64::try_from(idle).is_ok_and(|idle| Duration::from_micros(idle) <= self.silent);
        // a broker that asks again who is there is up
        let up = |state: &str| matches!(state, "UP" | "REAUTH");
        told.brokers.values().any(|b| b.nodeid == asked && up(&b.state) && in_time(b.rxidle))
    }
}

impl ClientContext for Link {
    fn stats_raw(&self, statistics: &[u8]) {
        // what cannot be read is no answer
        let answers = serde_json::from_slice(statistics).is_ok_and(|told| self.judge(&told));
        self.answers.store(answers, Relaxed);
    }
    fn error(&self, error: KafkaError, _reason: &str) {
        // if it is not all of them it is perhaps another one: the next statistics tell
        if error.rdkafka_error_code() == Some(Code::AllBrokersDown) {
            self.answers.store(false, Relaxed);
        }
    }
}
impl ConsumerContext for Link {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statistics of a topic with one partition that is asked of a broker, beside brokers in some states.
    fn told(asked: i32, brokers: &[(i32, &str, i64)]) -> Vec<u8> {
        let broker = |(id, state, idle): &(i32, &str, i64)| {
            (format!("host:909{id}/{id}"), serde_json::json!({"nodeid": id, "state": state, "rxidle": idle, "txidle": 1}))
        };
        let brokers: serde_json::Map<String, serde_json::Value> = brokers.iter().map(broker).collect();
        let partitions =
            serde_json::json!({"3": {"partition": 3, "broker": asked, "leader": asked}, "-1": {"partition": -1, "broker": -1}});
        serde_json::json!({"name": "sabot", "brokers": brokers, "topics": {"t": {"topic": "t", "partitions": partitions}}})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn only_the_broker_that_is_asked_counts() {
        let wait = Duration::from_millis(100);
        let (soon, late) = (2_000_000, 2_200_000);
        for (asked, brokers, answers) in [
            (1, &[(1, "UP", soon), (2, "DOWN", -1)][..], true),
            (1, &[(1, "REAUTH", soon)], true),
            (1, &[(1, "DOWN", soon), (2, "UP", 0)], false),
            (1, &[(1, "CONNECT", -1), (2, "UP", 0)], false),
            (1, &[(1, "UP", late), (2, "UP", 0)], false),
            (1, &[(1, "UP", -1)], false),
            (1, &[(2, "UP", 0)], false),
            (-1, &[(-1, "UP", 0), (1, "UP", 0)], false),
            (1, &[], false),
        ] {
            let link = Link::new("t", 3, wait);
            link.stats_raw(&told(asked, brokers));
            assert_eq!(link.answers(), answers, "{asked}: {brokers:?}");
            // of another partition nothing is told
            let other = Link::new("t", 4, wait);
            other.answers.store(true, Relaxed);
            other.stats_raw(&told(asked, brokers));
            assert!(!other.answers());
        }
    }
    #[test]
    fn errors_of_some_brokers_say_nothing() {
        let link = Link::new("t", 3, Duration::ZERO);
        assert!(!link.answers(), "nobody has been heard yet");
        link.stats_raw(&told(1, &[(1, "UP", 0)]));
        link.error(KafkaError::Global(Code::BrokerTransportFailure), "host:9092/2: disconnected");
        assert!(link.answers());
        link.error(KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
        assert!(!link.answers());
        link.stats_raw(&told(1, &[(1, "UP", 0)]));
        assert!(link.answers());
        link.stats_raw(b"{");
        assert!(!link.answers());
    }
}
