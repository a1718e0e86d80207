//! Rows from topics of brokers that fail: each once, time waits for a broker that does not answer, and an error says where and what to do.
//!
//! The brokers are librdkafka's mock. It hides nothing of a transaction that is open or was aborted: see `kafka_source` for that.

use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sabot::runtime::RunOptions;
use sabot_services::{Fault, Faulty, Request};

use super::kafka_idle::open;
use super::ledger::{begin, check, fails, kill_after, lines, mix, seeds, shuffled, start, stop};

/// How long things may take that should take a second.
const LONG: Duration = Duration::from_secs(60);

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

/// What brokers do to a source.
const FAULTS: &[(&str, fn(&Faulty, &str))] = &[
    ("one is down", |cluster, _| cluster.down(1)),
    ("others lead", |cluster, topic| [(0, 2), (1, 3)].iter().for_each(|(partition, broker)| cluster.lead(topic, *partition, *broker))),
    ("messages are not given", |cluster, _| {
        use Fault::*;
        cluster.fail(
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
        );
    }),
    ("all are slow", |cluster, _| cluster.slow(-1, Duration::from_millis(300))),
    ("all are down", |cluster, _| cluster.down(-1)),
    ("one leads that is not there", |cluster, topic| {
        use Fault::*;
        cluster.down(3);
        cluster.lead(topic, 0, 3);
        cluster.fail(Request::Metadata, &[RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR__TRANSPORT]);
    }),
    ("connections break", |cluster, _| {
        use Fault::*;
        cluster.fail(Request::ListOffsets, &[RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR__TRANSPORT]);
        cluster.fail(Request::ApiVersion, &[RD_KAFKA_RESP_ERR__TRANSPORT; 3]);
        cluster.down(2);
        cluster.up(2);
    }),
];
fn mend(cluster: &Faulty, topic: &str) {
    cluster.up(-1);
    cluster.slow(-1, Duration::ZERO);
    (0..3).for_each(|partition| cluster.lead(topic, partition, partition + 1));
    [Request::Fetch, Request::Metadata, Request::ListOffsets, Request::ApiVersion].iter().for_each(|r| cluster.mend(*r));
}

/// A topic copied into files by a program that gets over each fault while it reads, and then is started and killed during each, in an order that the
/// seed says.
#[test]
fn every_row_once_whatever_the_brokers_do() {
    for seed in seeds(1) {
        let (cluster, topic) = (Faulty::brokers(3), "faults");
        cluster.topic(topic, &[1, 2, 3]);
        let mut feed = Feed { topic, producer: cluster.producer(), counts: [0; 3] };
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let (source, sink) = (format!("numbers={}", cluster.uri(topic, "discover_ms=300")), format!("all=csv:{}/", out.display()));
        let args = ["copy", "--source", &source, "--sink", &sink];
        let child = start(dir.path(), &args, None);
        for (number, (name, fault)) in shuffled(FAULTS, seed).into_iter().enumerate() {
            println!("seed {seed}: {name}");
            feed.more(50);
            come(&out, feed.rows());
            fault(&cluster, topic);
            feed.more(100);
            std::thread::sleep(Duration::from_millis(300 + mix(seed * 100 + number as u64) % 600));
            mend(&cluster, topic);
            feed.arrived();
            come(&out, feed.rows());
        }
        kill_after(child, Duration::from_millis(50));
        for (number, (name, fault)) in shuffled(FAULTS, seed + 1).into_iter().enumerate() {
            println!("seed {seed}: begins while {name}");
            feed.more(50);
            feed.arrived();
            fault(&cluster, topic);
            let child = start(dir.path(), &args, None);
            feed.more(100);
            kill_after(child, Duration::from_millis(300 + mix(seed * 100 + number as u64 + 50) % 900));
            mend(&cluster, topic);
        }
        feed.more(10);
        feed.arrived();
        let child = start(dir.path(), &args, None);
        come(&out, feed.rows());
        std::thread::sleep(Duration::from_millis(500));
        stop(child);
        assert_eq!(check(numbers(&out)), feed.rows(), "seed {seed}");
    }
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

#[test]
fn a_topic_that_cannot_be_asked_about() {
    let cluster = Faulty::brokers(1);
    cluster.topic("asked", &[1, 1]);
    let source = open(&cluster.uri("asked", "until=end"));
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
    send(0, 0..4);
    send(1, 0..4);
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
