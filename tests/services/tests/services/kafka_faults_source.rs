//! Rows from topics of brokers that fail: each once, time waits for a broker that does not answer, and an error says where and what to do.
//!
//! The brokers are librdkafka's mock. It hides nothing of a transaction that is open or was aborted: see `kafka_source` for that.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sabot::connect::SourceSpec;
use sabot::operator::{Read, SplitReader};
use sabot::prelude::*;
use sabot::runtime::RunOptions;
use sabot_services::{Fault, Faulty, Request};

use super::ledger::{begin, check, fails, kill_after, lines, mix, start, stop};

/// How long things may take that should take a second.
const LONG: Duration = Duration::from_secs(60);

#[derive(Record, Clone, Debug, PartialEq)]
struct Number {
    n: i64,
}

/// Numbers into the three partitions of a topic, as `check` wants them.
struct Feed<'a> {
    topic: &'a str,
    producer: BaseProducer,
    counts: [i64; 3],
}
impl Feed<'_> {
    /// Sends that many rows to each partition, and does not wait for them.
    fn more(&mut self, rows: i64) {
        for (partition, count) in (0..).zip(&mut self.counts) {
            for i in *count..*count + rows {
                let value = format!("{{\"n\":{}}}", i * 3 + i64::from(partition));
                let record = BaseRecord::<str, str>::to(self.topic).partition(partition).payload(&value);
                self.producer.send(record).map_err(|(e, _)| e).unwrap();
            }
            *count += rows;
        }
        self.producer.poll(Duration::ZERO);
    }
    fn rows(&self) -> usize {
        self.counts.iter().sum::<i64>() as usize
    }
    fn arrived(&self) {
        self.producer.flush(LONG).unwrap();
    }
}

fn numbers(dir: &Path) -> Vec<i64> {
    lines(dir).iter().map(|l| l.parse().unwrap()).collect()
}
/// Waits until that many rows have come.
fn come(dir: &Path, rows: usize) {
    let begun = Instant::now();
    while numbers(dir).len() < rows {
        assert!(begun.elapsed() < LONG, "{} of {rows} rows", numbers(dir).len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

const KINDS: u64 = 7;
/// Lets the cluster fail in one of several ways.
fn fail(cluster: &Faulty, topic: &str, kind: u64) {
    use Fault::*;
    match kind {
        0 => cluster.down(1),
        1 => [(0, 2), (1, 3)].iter().for_each(|(partition, broker)| cluster.lead(topic, *partition, *broker)),
        2 => cluster.fail(
            Request::Fetch,
            &[
                RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
                RD_KAFKA_RESP_ERR_UNKNOWN,
                RD_KAFKA_RESP_ERR__TRANSPORT,
                RD_KAFKA_RESP_ERR_INVALID_MSG,
                RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
                RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
                RD_KAFKA_RESP_ERR_UNKNOWN,
            ],
        ),
        3 => cluster.slow(-1, Duration::from_millis(300)),
        4 => cluster.down(-1),
        5 => {
            // led by a broker that is not there
            cluster.down(3);
            cluster.lead(topic, 0, 3);
            cluster.fail(Request::Metadata, &[RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR__TRANSPORT]);
        }
        _ => {
            cluster.fail(Request::ListOffsets, &[RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR__TRANSPORT]);
            cluster.fail(Request::ApiVersion, &[RD_KAFKA_RESP_ERR__TRANSPORT; 3]);
            cluster.down(2);
            cluster.up(2);
        }
    }
}
fn mend(cluster: &Faulty, topic: &str) {
    cluster.up(-1);
    cluster.slow(-1, Duration::ZERO);
    (0..3).for_each(|partition| cluster.lead(topic, partition, partition + 1));
    [Request::Fetch, Request::Metadata, Request::ListOffsets, Request::ApiVersion].iter().for_each(|r| cluster.mend(*r));
}

/// A topic copied into files by a program that gets over each fault while it reads, and then is started and killed during each.
#[test]
fn every_row_once_whatever_the_brokers_do() {
    let (cluster, topic) = (Faulty::brokers(3), "faults");
    cluster.topic(topic, &[1, 2, 3]);
    let mut feed = Feed { topic, producer: cluster.producer(), counts: [0; 3] };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let (source, sink) = (format!("numbers={}", cluster.uri(topic, "discover_ms=300")), format!("all=csv:{}/", out.display()));
    let args = ["copy", "--source", &source, "--sink", &sink];
    let child = start(dir.path(), &args, None);
    for kind in 0..KINDS {
        feed.more(50);
        come(&out, feed.rows());
        fail(&cluster, topic, kind);
        feed.more(100);
        std::thread::sleep(Duration::from_millis(300 + mix(kind) % 600));
        mend(&cluster, topic);
        feed.arrived();
        come(&out, feed.rows());
    }
    kill_after(child, Duration::from_millis(50));
    for kind in 0..KINDS {
        feed.more(50);
        feed.arrived();
        fail(&cluster, topic, kind);
        let child = start(dir.path(), &args, None);
        feed.more(100);
        kill_after(child, Duration::from_millis(300 + mix(kind + 7) % 900));
        mend(&cluster, topic);
    }
    feed.arrived();
    let child = start(dir.path(), &args, None);
    come(&out, feed.rows());
    std::thread::sleep(Duration::from_millis(500));
    stop(child);
    assert_eq!(check(numbers(&out)), feed.rows());
}

/// What does not pass ends the job with a sentence, and the job goes on when it has been seen to.
#[test]
fn an_error_that_does_not_pass_says_where_and_what_to_do() {
    let (cluster, topic) = (Faulty::brokers(1), "refused");
    cluster.topic(topic, &[1, 1, 1]);
    let mut feed = Feed { topic, producer: cluster.producer(), counts: [0; 3] };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let (source, sink) = (format!("numbers={}", cluster.uri(topic, "")), format!("all=csv:{}/", out.display()));
    let args = ["copy", "--source", &source, "--sink", &sink];
    let ends = |fault: Fault, args: &[&str]| {
        let child = begin(dir.path(), args, None);
        std::thread::sleep(Duration::from_millis(700));
        cluster.fail(Request::Fetch, &[fault; 10_000]);
        let said = fails(child);
        cluster.mend(Request::Fetch);
        assert!(said.contains(&format!("kafka topic `{topic}` at 127.0.0.1:")) && said.contains(", partition "), "{said}");
        said
    };
    feed.more(100);
    feed.arrived();
    let said = ends(Fault::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, &args);
    assert!(said.contains("authorization failed") && said.contains("give its user the right"), "{said}");
    feed.more(100);
    feed.arrived();
    // what may pass is tried again, but not for ever
    let few = [&args[..], &["--retries", "3", "--retry-wait", "20ms"]].concat();
    let said = ends(Fault::RD_KAFKA_RESP_ERR_UNKNOWN, &few);
    assert!(said.contains("cannot read") && said.contains("Unknown broker error"), "{said}");
    // rows that only the last life can read
    feed.more(100);
    feed.arrived();
    let child = start(dir.path(), &args, None);
    come(&out, feed.rows());
    stop(child);
    assert_eq!(check(numbers(&out)), feed.rows());
}

fn open(cluster: &Faulty, topic: &str, options: &str) -> Box<dyn sabot::operator::Source> {
    let schema = Arc::new(sabot::record::schema_of::<Number>());
    SourceSpec::from_uri(&cluster.uri(topic, options)).unwrap().open("Number", &schema).unwrap()
}

#[test]
fn a_topic_that_cannot_be_asked_about() {
    let cluster = Faulty::brokers(1);
    cluster.topic("asked", &[1, 1]);
    let source = open(&cluster, "asked", "until=end");
    assert_eq!(source.splits().unwrap().len(), 2);
    cluster.fail(Request::ListOffsets, &[Fault::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 100]);
    let error = source.splits().unwrap_err();
    cluster.mend(Request::ListOffsets);
    let said = error.to_string();
    assert!(!error.is_transient(), "{said}");
    for part in ["`asked`", "partition 0", "cannot ask where it ends", "give its user the right"] {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
    // a topic that was just made has no leaders yet, which passes
    cluster.topic_fails("asked", Fault::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
    let error = source.splits().unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("cannot ask for the partitions"), "{error}");
    cluster.topic_fails("asked", Fault::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    let error = source.splits().unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("give its user the right"), "{error}");
    cluster.topic_fails("asked", Fault::RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_eq!(source.splits().unwrap().len(), 2);
    cluster.down(-1);
    let error = source.splits().unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("see that the brokers run"), "{error}");
    cluster.up(-1);
}

/// Asks a reader until it says so.
fn says(reader: &mut Box<dyn SplitReader>, what: &str, wanted: impl Fn(&Read) -> bool) {
    let begun = Instant::now();
    loop {
        let read = reader.next(1000).unwrap();
        if wanted(&read) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} does not come, but {read:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A partition is idle only as long as the broker that has it answers, whatever the others do.
#[test]
fn a_partition_without_its_broker_is_not_idle() {
    let cluster = Faulty::brokers(2);
    cluster.topic("idle", &[1, 2]);
    let source = open(&cluster, "idle", "");
    let mut readers: Vec<_> = source.splits().unwrap().iter().map(|split| source.open(split, None).unwrap()).collect();
    let [first, second] = &mut readers[..] else { panic!("two partitions") };
    let idle = |read: &Read| matches!(read, Read::Idle);
    let waits = |read: &Read| matches!(read, Read::Wait);
    // for as long as a partition must be quiet to be idle, and a bit
    let stay = |first: &mut Box<dyn SplitReader>, second: &mut Box<dyn SplitReader>, fault: &str| {
        let begun = Instant::now();
        let mut idle_once = false;
        while begun.elapsed() < Duration::from_secs(6) {
            let read = first.next(1000).unwrap();
            assert!(waits(&read), "{fault}: {read:?} after {:?}", begun.elapsed());
            idle_once |= idle(&second.next(1000).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(idle_once, "{fault}: the other partition is idle");
    };
    for (fault, begins, ends) in [
        ("down", (&|| cluster.down(1)) as &dyn Fn(), (&|| cluster.up(1)) as &dyn Fn()),
        ("slow", &|| cluster.slow(1, Duration::from_secs(30)), &|| cluster.slow(1, Duration::ZERO)),
    ] {
        says(first, "idleness", idle);
        says(second, "idleness", idle);
        begins();
        says(first, fault, waits);
        stay(first, second, fault);
        ends();
        if fault == "slow" {
            // answers that were under way are late still; a connection that is new is not
            (cluster.down(1), cluster.up(1));
        }
        cluster.send("idle", 0, [r#"{"n":1}"#]);
        says(first, "a row", |read| matches!(read, Read::Rows(batch, _) if batch.num_rows() == 1));
    }
}

/// Windows wait for a broker that is away longer than a quiet partition is waited for, also if its partition was idle before; what it brings is in them.
#[test]
fn time_waits_for_a_broker_that_is_away() {
    let (cluster, topic) = (Faulty::brokers(2), "time");
    cluster.topic(topic, &[1, 2]);
    let row = |second: i64| format!("{{\"n\":{second},\"ts\":\"1970-01-01T00:00:{second:02}\"}}");
    let producer = cluster.producer();
    let send = |partition: i32, seconds: std::ops::Range<i64>| {
        for value in seconds.map(row) {
            producer.send(BaseRecord::<str, str>::to(topic).partition(partition).payload(&value)).map_err(|(e, _)| e).unwrap();
        }
        producer.poll(Duration::ZERO);
    };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let (source, sink) = (format!("numbers={}", cluster.uri(topic, "")), format!("all=csv:{}/", out.display()));
    (send(0, 0..4), send(1, 0..4));
    producer.flush(LONG).unwrap();
    let child = start(dir.path(), &["seconds", "--stats", "--source", &source, "--sink", &sink], None);
    // the windows [0, 1), [1, 2) and [2, 3) close
    come_lines(&out, 3);
    let idle = RunOptions::default().idle_after;
    for (was_idle, begin, end) in [(false, 4, 20), (true, 20, 40)] {
        if was_idle {
            std::thread::sleep(idle + Duration::from_secs(3));
        }
        cluster.down(1);
        // as long as it takes to notice that
        std::thread::sleep(Duration::from_secs(if was_idle { 3 } else { 0 }));
        send(1, begin..end);
        std::thread::sleep(idle + Duration::from_secs(3));
        assert_eq!(lines(&out).len() as i64, begin - 1, "{:?}", lines(&out));
        cluster.up(1);
        // by a connection that is new: it must not take long enough for the partition to be idle
        let values: Vec<String> = (begin..end).map(row).collect();
        cluster.send(topic, 0, values.iter().map(String::as_str));
        come_lines(&out, end as usize - 1);
    }
    producer.flush(LONG).unwrap();
    let output = stop(child);
    // each window has the rows of both partitions, also the last, which closes at the end
    let counts: Vec<i64> = lines(&out).iter().map(|l| l.rsplit(',').next().unwrap().parse().unwrap()).collect();
    assert_eq!(counts, [2; 40], "{:?}", lines(&out));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("partition 0 is not known to be idle any more, and is waited for"), "{said}");
}
fn come_lines(dir: &Path, wanted: usize) {
    let begun = Instant::now();
    while lines(dir).len() < wanted {
        assert!(begun.elapsed() < LONG, "{:?}", lines(dir));
        std::thread::sleep(Duration::from_millis(50));
    }
}
