//! When a partition of a topic is idle: all of it was read, and the broker that has it answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::producer::Producer;
use sabot::connect::SourceSpec;
use sabot::operator::{Read, Source, SplitReader};
use sabot::prelude::Record;
use sabot_services::{Faulty, Kafka, send};

/// How long things may take that should take a second.
const LONG: Duration = Duration::from_secs(60);

#[derive(Record, Clone, Debug, PartialEq)]
struct Number {
    n: i64,
}

/// A topic of numbers.
pub(super) fn open(uri: &str) -> Box<dyn Source> {
    let schema = Arc::new(sabot::record::schema_of::<Number>());
    SourceSpec::from_uri(uri).unwrap().open("Number", &schema).unwrap()
}
fn readers(uri: &str) -> Vec<Box<dyn SplitReader>> {
    let source = open(uri);
    source.splits().unwrap().iter().map(|split| source.open(split, None).unwrap()).collect()
}

/// Asks a reader until it says so.
fn says(reader: &mut Box<dyn SplitReader>, what: &str, wanted: impl Fn(&Read) -> bool) {
    let begun = Instant::now();
    loop {
        let read = reader.next(1000).unwrap();
        if wanted(&read) {
            return;
        }
        assert!(begun.elapsed() < LONG, "{what} does not come, but {read:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A partition is idle only as long as the broker that has it answers, whatever the others do.
#[test]
fn a_partition_without_its_broker_is_not_idle() {
    let cluster = Faulty::brokers(2);
    cluster.topic("idle", &[1, 2]);
    let mut readers = readers(&cluster.uri("idle", ""));
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
            cluster.down(1);
            std::thread::sleep(Duration::from_secs(1)); // until the client has seen it
            cluster.up(1);
        }
        cluster.send("idle", 0, [r#"{"n":1}"#]);
        let back = Instant::now();
        says(first, "a row", |read| matches!(read, Read::Rows(batch, _) if batch.num_rows() == 1));
        println!("{fault}: a row after {:?}", back.elapsed());
    }
}

/// With a real broker: partitions that are empty, that end with a message, and that end with the mark of a transaction are idle and stay so, but for the
/// time in which the broker is away.
#[test]
fn partitions_of_a_real_broker() {
    let Some(broker) = Kafka::own("kafka-idle") else { return };
    let topic = broker.topic("quiet", 3);
    broker.send(&topic, 0, [r#"{"n":1}"#]);
    let producer = broker.producer(Some("tests-of-idleness"));
    for commit in [true, false] {
        producer.begin_transaction().unwrap();
        send(&producer, &topic, 1, [r#"{"n":2}"#]);
        let ended = if commit { producer.commit_transaction(LONG) } else { producer.abort_transaction(LONG) };
        ended.unwrap();
    }
    let mut readers = readers(&broker.uri(&topic, ""));
    let idle = |read: &Read| matches!(read, Read::Idle);
    for reader in &mut readers {
        says(reader, "idleness", idle);
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        for (partition, reader) in readers.iter_mut().enumerate() {
            let read = reader.next(1000).unwrap();
            assert!(idle(&read), "partition {partition} after {:?}: {read:?}", begun.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::scope(|scope| {
        scope.spawn(|| broker.crash(Duration::from_secs(4)));
        for reader in &mut readers {
            says(reader, "waiting", |read| matches!(read, Read::Wait));
        }
    });
    for reader in &mut readers {
        says(reader, "idleness after a crash", idle);
    }
    broker.send(&topic, 2, [r#"{"n":3}"#]);
    says(&mut readers[2], "a row", |read| matches!(read, Read::Rows(batch, _) if batch.num_rows() == 1));
    says(&mut readers[2], "idleness after a row", idle);
}
