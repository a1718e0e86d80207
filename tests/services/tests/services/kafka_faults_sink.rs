//! Rows into topics of brokers that fail: each once, and an error says where and what to do.
//!
//! The brokers are librdkafka's mock, which undoes no transaction and shows what is not committed. So here, faults that end a transaction strike before
//! its messages have arrived, and processes die between transactions only. What a transaction that is undone leaves to those who read committed
//! messages is shown beside the real broker: see `kafka_sink`.

use std::time::Duration;

use sabot::connect::SinkSpec;
use sabot::operator::{Beginning, Prepared, Sink};
use sabot::prelude::*;
use sabot::record::to_batch;
use sabot_services::{Fault, Faulty, Request, Seen};

use super::ledger::{check, die_at_seams, mix, seeds, shuffled, start, stop};

#[derive(Record, Clone, Debug, PartialEq)]
struct Number {
    n: i64,
}

pipeline! {
    /// Numbers as they are.
    pub fn plain(numbers: Source<Number, Bounded>);
    out = numbers -> filter(|n| n.n >= 0);
    out -> sink;
}

fn number(seen: &Seen) -> i64 {
    let value: serde_json::Value = serde_json::from_str(seen.value.as_deref().unwrap()).unwrap();
    value["n"].as_i64().unwrap()
}
fn sorted(cluster: &Faulty, topic: &str) -> Vec<i64> {
    let mut numbers: Vec<i64> = cluster.messages(topic).iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}
fn batch(from: i64) -> arrow_array::RecordBatch {
    to_batch(&(from..from + 2).map(|n| Number { n }).collect::<Vec<_>>())
}
/// One broker, with the topic, of one partition, and that of the marks.
fn cluster(topic: &str) -> Faulty {
    let cluster = Faulty::brokers(1);
    cluster.topic(topic, &[1]);
    cluster.topic("sabot-markers", &[1]);
    cluster
}
fn begun(cluster: &Faulty, topic: &str, options: &str, generation: u64, from: Option<&Prepared>) -> Box<dyn Sink> {
    let mut sink = SinkSpec::from_uri(&cluster.uri(topic, options)).unwrap().open().unwrap();
    sink.two_phase().unwrap().begin(Beginning { generation, from, savepoint: false, fenced: false }).unwrap();
    sink.open(&batch(0).schema()).unwrap();
    sink
}
fn prepared(sink: &mut Box<dyn Sink>, from: i64, epoch: u64) -> Prepared {
    sink.write(&batch(from)).unwrap();
    sink.two_phase().unwrap().prepare(epoch, false).unwrap().finish().unwrap()
}

/// What brokers do to a sink.
const FAULTS: &[(&str, fn(&Faulty, &str))] = &[
    ("messages are not taken", |cluster, _| {
        use Fault::*;
        cluster.fail(
            Request::Produce,
            &[
                RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
                RD_KAFKA_RESP_ERR__TRANSPORT,
                RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            ],
        );
    }),
    ("a transaction is not begun", |cluster, _| {
        use Fault::*;
        cluster.fail(
            Request::AddPartitionsToTxn,
            &[
                RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
                RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
                RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
                RD_KAFKA_RESP_ERR__TRANSPORT,
            ],
        );
    }),
    ("a transaction is not ended", |cluster, _| {
        use Fault::*;
        cluster.fail(
            Request::EndTxn,
            &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR__TRANSPORT],
        );
    }),
    ("all are slow", |cluster, _| cluster.slow(-1, Duration::from_millis(150))),
    ("one is down", |cluster, _| cluster.down(2)),
    ("all are down", |cluster, _| cluster.down(-1)),
    ("another one leads", |cluster, topic| cluster.lead(topic, 0, 3)),
    ("another one leads the marks", |cluster, _| cluster.lead("sabot-markers", 0, 2)),
];

/// A program that is killed between the steps of its checkpoints, and then gets over each fault that passes, in an order that the seed says.
#[test]
fn every_message_once_whatever_the_brokers_do() {
    use Fault::*;
    for seed in seeds(1) {
        let (cluster, topic) = (Faulty::brokers(3), "faults");
        cluster.topic(topic, &[1, 2, 3]);
        cluster.topic("sabot-markers", &[1]);
        let dir = tempfile::tempdir().unwrap();
        let sink = format!("all={}", cluster.uri(topic, ""));
        let args = ["ledger", "--rate", "1000", "--sink", &sink];
        cluster.fail(Request::InitProducerId, &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR]);
        die_at_seams(dir.path(), &args);
        let child = start(dir.path(), &args, None);
        let mut shown = 0;
        for (number, (name, fault)) in shuffled(FAULTS, seed).into_iter().enumerate() {
            let random = mix(seed * 100 + number as u64);
            std::thread::sleep(Duration::from_millis(300 + random % 300));
            fault(&cluster, topic);
            std::thread::sleep(Duration::from_millis(300 + (random >> 20) % 500));
            cluster.up(-1);
            cluster.slow(-1, Duration::ZERO);
            cluster.lead("sabot-markers", 0, 1);
            // it goes on
            let (begun, before) = (std::time::Instant::now(), shown);
            while shown <= before + 300 {
                assert!(begun.elapsed() < Duration::from_secs(60), "seed {seed}, after \"{name}\": {shown} messages");
                std::thread::sleep(Duration::from_millis(200));
                shown = cluster.messages(topic).len();
            }
        }
        stop(child);
        let rows = check(cluster.messages(topic).iter().map(number));
        assert!(rows > 2_000, "{rows} rows");
    }
}

/// A transaction that fails before its messages have arrived is sent again by the next attempt, or the error says why not.
#[test]
fn a_transaction_that_fails() {
    let topic = "failing";
    let cluster = cluster(topic);
    let mut sink = begun(&cluster, topic, "client.message.timeout.ms=1500", 1, None);
    let mut rows = 0;
    let fails = |sink: &mut Box<dyn Sink>, prepared: &Prepared, parts: &[&str]| {
        let error = sink.two_phase().unwrap().publish(prepared).unwrap_err();
        let said = error.to_string();
        for part in [&["kafka topic `failing` at 127.0.0.1:"], parts].concat() {
            assert!(said.contains(part), "no `{part}` in {said}");
        }
        error.is_transient()
    };
    let refused = ["Topic authorization failed", "give its user the right"];
    let identity = ["did not arrive", "give its user the right"];
    let large = ["did not arrive", "raise `client.message.max.bytes`"];
    let unknown = ["did not arrive", "Unknown broker error"];
    let expired = ["did not arrive", "Producer attempted to use a producer id"];
    for (request, fault, transient, parts) in [
        (Request::Produce, Fault::RD_KAFKA_RESP_ERR_UNKNOWN, true, &unknown),
        (Request::Produce, Fault::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, false, &refused),
        (Request::Produce, Fault::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, false, &large),
        (Request::AddPartitionsToTxn, Fault::RD_KAFKA_RESP_ERR_UNKNOWN, true, &unknown),
        (Request::AddPartitionsToTxn, Fault::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, true, &expired),
        (Request::AddPartitionsToTxn, Fault::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, false, &refused),
        (Request::AddPartitionsToTxn, Fault::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, false, &identity),
    ] {
        let epoch = rows as u64 / 2 + 1;
        let held = prepared(&mut sink, rows, epoch);
        cluster.fail(request, &[fault; 100]);
        assert_eq!(fails(&mut sink, &held, parts), transient, "{fault:?}");
        cluster.mend(request);
        assert_eq!(sorted(&cluster, topic), (0..rows).collect::<Vec<_>>(), "{fault:?}");
        // after the error the job tries again, or a new process goes on
        if !transient {
            sink = begun(&cluster, topic, "client.message.timeout.ms=1500", epoch, Some(&held));
        }
        sink.two_phase().unwrap().publish(&held).unwrap();
        sink.two_phase().unwrap().publish(&held).unwrap();
        rows += 2;
        assert_eq!(sorted(&cluster, topic), (0..rows).collect::<Vec<_>>(), "{fault:?}");
    }
    // messages that time out
    let held = prepared(&mut sink, rows, rows as u64 / 2 + 1);
    cluster.down(-1);
    assert!(fails(&mut sink, &held, &["did not arrive", "timed out", "see that the brokers run"]));
    cluster.up(-1);
    sink.two_phase().unwrap().publish(&held).unwrap();
    rows += 2;
    assert_eq!(sorted(&cluster, topic), (0..rows).collect::<Vec<_>>());
    // an identity that may not be used
    cluster.fail(Request::InitProducerId, &[Fault::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED; 10]);
    let mut other = SinkSpec::from_uri(&cluster.uri(topic, "")).unwrap().open().unwrap();
    let error = other.two_phase().unwrap().begin(Beginning { generation: 9, from: None, savepoint: false, fenced: false }).unwrap_err();
    let said = error.to_string();
    assert!(!error.is_transient() && said.contains("cannot begin to write") && said.contains("give its user the right"), "{said}");
}

/// Who is told to be shut out sends nothing, and says so. (The mock shuts nobody out by itself.)
#[test]
fn a_producer_that_is_shut_out() {
    let topic = "fenced";
    let cluster = cluster(topic);
    let mut first = begun(&cluster, topic, "", 1, None);
    let one = prepared(&mut first, 0, 1);
    for fault in [Fault::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, Fault::RD_KAFKA_RESP_ERR_PRODUCER_FENCED] {
        cluster.fail(Request::AddPartitionsToTxn, &[fault]);
        let error = first.two_phase().unwrap().publish(&one).unwrap_err();
        cluster.mend(Request::AddPartitionsToTxn);
        assert!(!error.is_transient() && error.to_string().contains("another process has taken over the job"), "{error}");
        assert_eq!(sorted(&cluster, topic), [0i64; 0]);
    }
    // another one begins while this one commits
    let (other, topic_of_other) = (self::cluster("ended"), "ended");
    let mut second = begun(&other, topic_of_other, "", 1, None);
    let held = prepared(&mut second, 0, 1);
    other.fail(Request::EndTxn, &[Fault::RD_KAFKA_RESP_ERR_PRODUCER_FENCED]);
    let error = second.two_phase().unwrap().publish(&held).unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("another process has taken over the job"), "{error}");
    // it was a false alarm: nobody else has left a mark
    first.two_phase().unwrap().publish(&one).unwrap();
    assert_eq!(sorted(&cluster, topic), [0, 1]);
}

/// Without checkpoints: what passes is waited for, what does not ends the job.
#[test]
fn messages_as_they_come() {
    let topic = "plain";
    let cluster = cluster(topic);
    let run = |from: i64| {
        let numbers: Vec<Number> = (from..from + 100).map(|n| Number { n }).collect();
        plain(numbers).sink("out", SinkSpec::from_uri(&cluster.uri(topic, "")).unwrap()).run()
    };
    use Fault::*;
    cluster.fail(
        Request::Produce,
        &[RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND],
    );
    run(0).unwrap();
    assert_eq!(sorted(&cluster, topic), (0..100).collect::<Vec<_>>());
    cluster.fail(Request::Produce, &[RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 200]);
    let error = run(100).map(|_| ()).unwrap_err().to_string();
    cluster.mend(Request::Produce);
    for part in ["`plain`", "did not arrive", "Topic authorization failed", "give its user the right"] {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    assert_eq!(sorted(&cluster, topic), (0..100).collect::<Vec<_>>());
}
