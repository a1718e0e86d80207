//! Rows from topics: where reading begins and ends, what is no row, and every row once, whoever is killed.

use std::time::Duration;

use rdkafka::producer::Producer;
use sabot::connect::SourceSpec;
use sabot::prelude::*;
use sabot_services::{Kafka, send};

use super::ledger::{check, kill_after, mix, start, stop};

#[derive(Record, Clone, Debug, PartialEq, PartialOrd)]
struct Reading {
    n: i64,
    unit: Option<Str>,
}
#[derive(Record, Clone, Debug, PartialEq, PartialOrd)]
struct Known {
    partition: i32,
    offset: i64,
    n: i64,
    key: Option<Str>,
    at: Timestamp<Micros>,
}
#[derive(Record, Clone, Debug, PartialEq, PartialOrd)]
struct Raw {
    partition: i64,
    value: Bytes,
}
#[derive(Record, Clone, Debug, PartialEq, PartialOrd)]
struct Number {
    n: i64,
}

pipeline! {
    /// Readings as they are.
    pub fn readings(readings: Source<Reading, Bounded>);
    out = readings -> filter(|r| r.n > -100);
    out -> sink;
}
pipeline! {
    /// Messages with all that is known of them.
    pub fn known(messages: Source<Known, Bounded>);
    out = messages -> filter(|m| m.offset >= 0);
    out -> sink;
}
pipeline! {
    /// Values as they are.
    pub fn raw(messages: Source<Raw, Bounded>);
    out = messages -> filter(|m| m.partition >= 0);
    out -> sink;
}
pipeline! {
    /// One column of several.
    pub fn numbers(readings: Source<Reading, Bounded>);
    out = readings -> select(|r| row { n: r.n });
    out -> sink;
}

fn source<R: Record>(broker: &Kafka, topic: &str, options: &str) -> Source<R, Bounded> {
    SourceSpec::from_uri(&broker.uri(topic, &format!("until=end{options}"))).unwrap().into()
}
fn found(broker: &Kafka, topic: &str, options: &str) -> Vec<i64> {
    let mut n: Vec<i64> = readings(source(broker, topic, options)).collect::<Reading>().unwrap().iter().map(|r| r.n).collect();
    n.sort_unstable();
    n
}

#[test]
fn a_topic_as_rows() {
    let Some(broker) = Kafka::shared() else { return };
    let topic = broker.topic("rows", 2);
    broker.send(&topic, 0, [r#"{"n":1,"unit":"m"}"#, r#"{"n":2,"more":{}}"#]);
    broker.send(&topic, 1, [r#" {"unit":null,"n":3} "#]);
    let mut rows: Vec<Reading> = readings(source(broker, &topic, "")).collect().unwrap();
    rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let reading = |n, unit: Option<&str>| Reading { n, unit: unit.map(Into::into) };
    assert_eq!(rows, [reading(1, Some("m")), reading(2, None), reading(3, None)]);
    assert_eq!(numbers(source(broker, &topic, "")).collect::<Number>().unwrap().len(), 3);

    let columns = "&partition=partition&offset=offset&key=key&timestamp=at";
    let mut rows: Vec<Known> = known(source(broker, &topic, columns)).collect().unwrap();
    rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let places: Vec<(i32, i64, i64, Option<&str>)> = rows.iter().map(|r| (r.partition, r.offset, r.n, r.key.as_deref())).collect();
    assert_eq!(places, [(0, 0, 1, Some("k")), (0, 1, 2, Some("k")), (1, 0, 3, Some("k"))]);
    assert!(rows.iter().all(|r| r.at.value() > 1_000_000_000_000_000), "{rows:?}");

    let mut rows: Vec<Raw> = raw(source(broker, &topic, "&format=raw&value=value&partition=partition")).collect().unwrap();
    rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
    assert_eq!(rows[2], Raw { partition: 1, value: Bytes::from(&b" {\"unit\":null,\"n\":3} "[..]) });
    let error = |options: &str| raw(source(broker, &topic, options)).collect::<Raw>().unwrap_err().to_string();
    assert!(error("&format=raw").contains("which of partition, value holds the raw value?"), "{}", error("&format=raw"));
    assert!(error("&format=raw&key=kez").contains("no column `kez`"));
    assert!(error("&format=raw&timestamp=value&partition=partition").contains("cannot hold the message's timestamp"));
    let missing = readings(source(broker, "no-such-topic", "")).collect::<Reading>().unwrap_err().to_string();
    assert!(missing.contains("no-such-topic"), "{missing}");
}

#[test]
fn where_reading_begins() {
    let Some(broker) = Kafka::shared() else { return };
    let topic = broker.topic("begin", 1);
    broker.send(&topic, 0, [r#"{"n":1}"#]);
    std::thread::sleep(Duration::from_millis(50));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    broker.send(&topic, 0, [r#"{"n":2}"#, r#"{"n":3}"#]);
    assert_eq!(found(broker, &topic, ""), [1, 2, 3]);
    assert_eq!(found(broker, &topic, "&start=latest"), [0i64; 0]);
    assert_eq!(found(broker, &topic, &format!("&start={now}")), [2, 3]);
    assert_eq!(found(broker, &topic, &format!("&start={}", now + 3_600_000)), [0i64; 0]);
    let empty = broker.topic("empty", 2);
    assert_eq!(found(broker, &empty, ""), [0i64; 0]);
}

#[test]
fn only_what_is_committed() {
    let Some(broker) = Kafka::shared() else { return };
    let topic = broker.topic("committed", 1);
    let producer = broker.producer(Some("tests-of-transactions"));
    let transaction = |commit: bool, values: &[&str]| {
        producer.begin_transaction().unwrap();
        send(&producer, &topic, 0, values.iter().copied());
        let ended =
            if commit { producer.commit_transaction(Duration::from_secs(30)) } else { producer.abort_transaction(Duration::from_secs(30)) };
        ended.unwrap();
    };
    transaction(true, &[r#"{"n":1}"#]);
    transaction(false, &[r#"{"n":-1}"#, r#"{"n":-2}"#]);
    transaction(true, &[r#"{"n":2}"#]);
    assert_eq!(found(broker, &topic, ""), [1, 2]);
    transaction(false, &[r#"{"n":-3}"#]);
    assert_eq!(found(broker, &topic, ""), [1, 2], "the topic ends with messages that do not count");
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, [r#"{"n":-4}"#]);
    broker.send(&topic, 0, [r#"{"n":3}"#]);
    assert_eq!(found(broker, &topic, ""), [1, 2], "what follows an open transaction does not show yet");
    assert_eq!(found(broker, &topic, "&read=uncommitted"), [-4, -3, -2, -1, 1, 2, 3]);
    producer.abort_transaction(Duration::from_secs(30)).unwrap();
    assert_eq!(found(broker, &topic, ""), [1, 2, 3]);
}

#[test]
fn messages_that_are_no_rows() {
    let Some(broker) = Kafka::shared() else { return };
    let topic = broker.topic("poison", 2);
    broker.send(&topic, 1, [r#"{"n":1}"#, r#"{"n":"one"}"#, r#"{"unit":"m"}"#, "{", r#"{"n":2}"#]);
    let error = readings(source(broker, &topic, "")).collect::<Reading>().unwrap_err().to_string();
    for part in [topic.as_str(), "partition 1", "offset 1", "on_bad_message=skip", "one"] {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    let job = readings(source(broker, &topic, "&on_bad_message=skip"));
    let (batches, report) = job.collect_with(&sabot::runtime::Control::new(), None, None).unwrap();
    assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 2);
    assert_eq!(report.nodes.iter().map(|n| n.account.failed).sum::<u64>(), 3);
}

pipeline! {
    /// Readings, and messages that are none.
    pub fn sifted(readings: Source<Reading, Bounded>);
    (out, bad) = readings -> bad_rows();
    out -> sink;
    bad -> sink;
}

#[test]
fn messages_that_are_no_rows_as_a_stream() {
    let Some(broker) = Kafka::shared() else { return };
    let topic = broker.topic("poisoned", 2);
    broker.send(&topic, 1, [r#"{"n":1}"#, r#"{"n":"one"}"#, r#"{"unit":"m"}"#, "{", r#"{"n":2}"#]);
    let producer = broker.producer(None);
    producer.send(rdkafka::producer::BaseRecord::<str, [u8]>::to(&topic).partition(0).payload(b"\xff{")).map_err(|(e, _)| e).unwrap();
    producer.send(rdkafka::producer::BaseRecord::<str, [u8]>::to(&topic).partition(0).key("gone")).map_err(|(e, _)| e).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
    for morsel in [1, 2, 1000] {
        let ran = sabot::testing::Trial::new().morsel_rows(morsel).run(sifted(source(broker, &topic, ""))).unwrap();
        let mut n: Vec<i64> = ran.rows::<Reading>("out").unwrap().iter().map(|r| r.n).collect();
        n.sort_unstable();
        assert_eq!(n, [1, 2]);
        let mut bad = ran.rows::<BadRow>("bad").unwrap();
        bad.sort_by_key(|b| (b.partition, b.position));
        let told: Vec<_> = bad.iter().map(|b| (b.partition, b.position, &*b.text, b.value.as_deref(), b.key.as_deref())).collect();
        assert_eq!(
            told,
            [
                (0, 0, "\u{fffd}{", Some(&b"\xff{"[..]), None),
                (0, 1, "", None, Some(&b"gone"[..])),
                (1, 1, r#"{"n":"one"}"#, Some(&br#"{"n":"one"}"#[..]), Some(&b"k"[..])),
                (1, 2, r#"{"unit":"m"}"#, Some(&br#"{"unit":"m"}"#[..]), Some(&b"k"[..])),
                (1, 3, "{", Some(&b"{"[..]), Some(&b"k"[..])),
            ]
        );
        assert!(bad.iter().all(|b| b.place == topic.as_str()));
        for (row, part) in bad.iter().zip(["", "tombstone", "one", "`n` is missing", "ends within"]) {
            assert!(row.error.contains(part), "no `{part}` in {}", row.error);
        }
        assert_eq!(ran.report.as_ref().unwrap().nodes.iter().filter(|n| n.inputs.is_empty()).map(|n| n.account.failed).sum::<u64>(), 5);
    }
    // the pipeline and the option say different things
    let skips = sabot::testing::Trial::new().run(sifted(source(broker, &topic, "&on_bad_message=skip")));
    assert!(skips.map(|_| ()).unwrap_err().to_string().contains("leave out `on_bad_message=skip`"));
}

/// A topic with poison, sorted out by a program that is killed: each row and each bad message once.
#[test]
fn every_bad_message_once_whoever_is_killed() {
    let Some(broker) = Kafka::shared() else { return };
    let (topic, letters) = (broker.topic("sifted", 3), broker.topic("letters", 1));
    let dir = tempfile::tempdir().unwrap();
    let sinks =
        [format!("all=csv:{}/", dir.path().join("out").display()), format!("bad={}", broker.uri(&letters, "key=partition,position"))];
    let source = format!("numbers={}", broker.uri(&topic, ""));
    let args = ["sift", "--source", &source, "--sink", &sinks[0], "--sink", &sinks[1]];
    let mut counts = [0i64; 3];
    let mut feed = |partition: usize, rows: i64| {
        let line = |i: i64| {
            let n = i * 3 + partition as i64;
            if mix(n as u64).is_multiple_of(3) { format!("poison {n}") } else { format!("{{\"n\":{n}}}") }
        };
        let values: Vec<String> = (counts[partition]..counts[partition] + rows).map(line).collect();
        broker.send(&topic, partition as i32, values.iter().map(String::as_str));
        counts[partition] += rows;
    };
    for life in 0..6 {
        let child = start(dir.path(), &args, None);
        for partition in 0..3 {
            feed(partition, 150);
            std::thread::sleep(Duration::from_millis(100));
        }
        kill_after(child, Duration::from_millis(300 + mix(life + 5) % 600));
    }
    let child = start(dir.path(), &args, None);
    // what came out of both sinks
    let found = || {
        let files = std::fs::read_dir(dir.path().join("out")).into_iter().flatten().flatten().map(|e| e.path());
        let files = files.filter(|f| !f.file_name().unwrap().to_string_lossy().starts_with('.'));
        let rows =
            files.flat_map(|f| std::fs::read_to_string(f).unwrap().lines().skip(1).map(|l| l.parse().unwrap()).collect::<Vec<i64>>());
        let number = |seen: &sabot_services::Seen| {
            let letter: serde_json::Value = serde_json::from_str(seen.value.as_deref().unwrap()).unwrap();
            let n: i64 = letter["text"].as_str().unwrap().strip_prefix("poison ").unwrap().parse().unwrap();
            let place = (letter["place"].as_str().unwrap(), letter["partition"].as_i64().unwrap(), letter["position"].as_i64().unwrap());
            assert_eq!(place, (topic.as_str(), n % 3, n / 3));
            assert!(!letter["error"].as_str().unwrap().is_empty());
            n
        };
        rows.chain(broker.committed(&letters).iter().map(number)).collect::<Vec<i64>>()
    };
    let (begun, wanted) = (std::time::Instant::now(), counts.iter().sum::<i64>() as usize);
    while found().len() < wanted && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(300));
    }
    stop(child);
    assert_eq!(check(found()), wanted, "{counts:?}");
    assert!(broker.committed(&letters).len() > 600, "the test shows something");
}

#[test]
fn a_broker_that_is_away() {
    let spec = SourceSpec::from_uri("kafka://127.0.0.1:1/topic?until=end").unwrap();
    let begun = std::time::Instant::now();
    let job = readings(Source::from(spec)).options(|o| o.retries = 1);
    let error = job.collect::<Reading>().unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("cannot ask for the partitions"), "{error}");
    assert!(error.to_string().contains("see that the brokers run"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(25));
}

/// A topic copied into files by a program that is killed, while the topic and the number of its partitions grow, and the broker dies.
#[test]
fn every_row_once_whoever_is_killed() {
    let Some(broker) = Kafka::own("kafka-source-killed") else { return };
    let topic = broker.topic("growing", 2);
    let dir = tempfile::tempdir().unwrap();
    let sink = format!("all=csv:{}/", dir.path().join("out").display());
    let source = format!("numbers={}", broker.uri(&topic, "start=latest&discover_ms=300"));
    let args = ["copy", "--source", &source, "--sink", &sink];
    broker.send(&topic, 0, [r#"{"n":999999999}"#]);
    let mut counts = [0i64; 3];
    let mut feed = |partition: usize, rows: i64| {
        let values: Vec<String> =
            (counts[partition]..counts[partition] + rows).map(|i| format!("{{\"n\":{}}}", i * 3 + partition as i64)).collect();
        broker.send(&topic, partition as i32, values.iter().map(String::as_str));
        counts[partition] += rows;
    };
    // the job has begun once it has a checkpoint: the one message before is not read
    let child = start(dir.path(), &args, None);
    let begun = std::time::Instant::now();
    while !std::fs::read_dir(dir.path().join("checkpoints"))
        .is_ok_and(|d| d.flatten().any(|e| e.path().extension().is_some_and(|x| x == "checkpoint")))
    {
        assert!(begun.elapsed() < Duration::from_secs(30), "no checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    feed(0, 500);
    kill_after(child, Duration::from_millis(300));
    for life in 0..6 {
        feed(0, 200);
        feed(1, 300);
        if life == 2 {
            broker.grow(&topic, 3);
        }
        let child = start(dir.path(), &args, None);
        if life >= 2 {
            feed(2, 100);
        }
        if life == 4 {
            broker.crash(Duration::from_millis(500));
        }
        kill_after(child, Duration::from_millis(400 + mix(life) % 600));
    }
    let child = start(dir.path(), &args, None);
    let rows = || {
        let files = std::fs::read_dir(dir.path().join("out")).unwrap().flatten().map(|e| e.path());
        let files = files.filter(|f| !f.file_name().unwrap().to_string_lossy().starts_with('.'));
        files
            .flat_map(|f| std::fs::read_to_string(f).unwrap().lines().skip(1).map(|l| l.parse().unwrap()).collect::<Vec<i64>>())
            .collect::<Vec<i64>>()
    };
    let (begun, wanted) = (std::time::Instant::now(), counts.iter().sum::<i64>() as usize);
    while rows().len() < wanted && begun.elapsed() < Duration::from_secs(40) {
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_millis(500));
    stop(child);
    assert_eq!(check(rows()), wanted, "{counts:?}");
}
