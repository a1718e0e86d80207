//! Rows into topics: keys and values, and every row once, whoever is killed.

use std::time::Duration;

use sabot::connect::SinkSpec;
use sabot::operator::Beginning;
use sabot::prelude::*;
use sabot::record::to_batch;
use sabot_services::{Kafka, Seen};

use super::ledger::{check, die_at_seams, kill_after, mix, start, stop};

#[derive(Record, Clone, Debug, PartialEq)]
struct Sale {
    shop: Option<Str>,
    n: i64,
    at: Timestamp<Millis>,
}

pipeline! {
    /// Sales as they are.
    pub fn sales(sales: Source<Sale, Bounded>);
    out = sales -> filter(|s| s.n >= 0);
    out -> sink;
}

fn sale(n: i64) -> Sale {
    Sale { shop: (n != 2).then(|| format!("s{n}\n").into()), n, at: Timestamp::new(n * 1000) }
}
fn pairs(seen: &[Seen]) -> Vec<(Option<&str>, Option<&str>)> {
    let mut pairs: Vec<_> = seen.iter().map(|s| (s.key.as_deref(), s.value.as_deref())).collect();
    pairs.sort_by_key(|p| p.1);
    pairs
}
fn number(seen: &Seen) -> i64 {
    let value: serde_json::Value = serde_json::from_str(seen.value.as_deref().unwrap()).unwrap();
    value["n"].as_i64().unwrap()
}

#[test]
fn keys_and_values() {
    let Some(broker) = Kafka::shared() else { return };
    let topic = broker.topic("keys", 3);
    let to =
        |options: &str| sales((1..4).map(sale).collect::<Vec<_>>()).sink("out", SinkSpec::from_uri(&broker.uri(&topic, options)).unwrap());
    to("key=shop&format=json").run().unwrap();
    let seen = broker.committed(&topic);
    assert_eq!(
        pairs(&seen),
        [
            (Some("s1\n"), Some(r#"{"shop":"s1\n","n":1,"at":"1970-01-01T00:00:01"}"#)),
            (Some("s3\n"), Some(r#"{"shop":"s3\n","n":3,"at":"1970-01-01T00:00:03"}"#)),
            (None, Some(r#"{"shop":null,"n":2,"at":"1970-01-01T00:00:02"}"#)),
        ]
    );
    // several columns, and the same key to the same partition
    for _ in 0..3 {
        to("key=n,shop").run().unwrap();
    }
    let again: Vec<Seen> = broker.committed(&topic).into_iter().filter(|s| s.key.as_deref() == Some(r#"{"n":1,"shop":"s1\n"}"#)).collect();
    assert_eq!(again.len(), 3);
    assert!(again.iter().all(|s| s.partition == again[0].partition), "{again:?}");
    let error = to("key=shpo").run().unwrap_err().to_string();
    assert!(error.contains("no column `shpo`") && error.contains("`shop`"), "{error}");
    let error = to("client.transactional.id=x").run().unwrap_err().to_string();
    assert!(error.contains("`transactional.id` is set by the connector"), "{error}");
    let error = to("client.no.such.thing=x").run().unwrap_err().to_string();
    assert!(error.contains("`no.such.thing`"), "{error}");
}

#[test]
fn every_message_once_whoever_is_killed() {
    let Some(broker) = Kafka::own("kafka-killed") else { return };
    let topic = broker.topic("ledger", 3);
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("all={}", broker.uri(&topic, ""));
    let args = ["ledger", "--rate", "2000", "--sink", &sink];
    die_at_seams(dir.path(), &args);
    for life in 0..5 {
        kill_after(start(dir.path(), &args, None), Duration::from_millis(500 + mix(life + 7) % 900));
    }
    // the broker goes down under the job, which goes on when it is back
    let child = start(dir.path(), &args, None);
    std::thread::sleep(Duration::from_millis(1500));
    broker.crash(Duration::from_millis(1500));
    std::thread::sleep(Duration::from_millis(3000));
    stop(child);
    let seen = broker.committed(&topic);
    let rows = check(seen.iter().map(number));
    assert!(rows > 3_000, "{rows} rows");
}

/// What two processes of one job may do to each other, call by call.
#[test]
fn each_checkpoint_arrives_once_and_a_zombie_sends_nothing() {
    let Some(broker) = Kafka::shared() else { return };
    let topic = broker.topic("zombie", 1);
    let uri = broker.uri(&topic, "");
    let batch = |from: i64| to_batch(&(from..from + 2).map(sale).collect::<Vec<_>>());
    let open = || SinkSpec::from_uri(&uri).unwrap().open().unwrap();
    let numbers = || broker.committed(&topic).iter().map(number).collect::<Vec<i64>>();

    let mut first = open();
    first.two_phase().unwrap().begin(Beginning { generation: 1, from: None, savepoint: false, fenced: false }).unwrap();
    first.open(&batch(0).schema()).unwrap();
    first.write(&batch(0)).unwrap();
    let one = first.two_phase().unwrap().prepare(1, false).unwrap().finish().unwrap();
    assert!(numbers().is_empty(), "prepared is not shown");
    first.two_phase().unwrap().publish(&one).unwrap();
    first.two_phase().unwrap().publish(&one).unwrap();
    assert_eq!(numbers(), [0, 1]);
    first.write(&batch(2)).unwrap();
    let two = first.two_phase().unwrap().prepare(2, false).unwrap().finish().unwrap();

    let mut second = open();
    second.two_phase().unwrap().begin(Beginning { generation: 2, from: Some(&two), savepoint: false, fenced: false }).unwrap();
    let error = first.two_phase().unwrap().publish(&two).unwrap_err().to_string();
    assert!(error.contains("has taken over"), "{error}");
    // it tries again, with a connection that is new
    let error = first.two_phase().unwrap().publish(&two).unwrap_err().to_string();
    assert!(error.contains("another process (number 2) has taken over"), "{error}");
    assert_eq!(numbers(), [0, 1]);
    // the new process was shut out by that; it asks what has arrived, and goes on
    second.two_phase().unwrap().publish(&two).or_else(|_| second.two_phase().unwrap().publish(&two)).unwrap();
    second.two_phase().unwrap().publish(&two).unwrap();
    assert_eq!(numbers(), [0, 1, 2, 3]);
    let older = open()
        .two_phase()
        .unwrap()
        .begin(Beginning { generation: 3, from: Some(&one), savepoint: false, fenced: false })
        .unwrap_err()
        .to_string();
    assert!(older.contains("rows of checkpoint 2") && older.contains("twice"), "{older}");
}
