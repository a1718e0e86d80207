//! Async operators at several instances and in several processes: one limit for all, the order of a key's rows, rows in flight that go on elsewhere.

#![allow(unreachable_pub)]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use sabot::prelude::*;
use sabot::testing::{StreamCheck, Trial, splits};
use sabot_tests::give_way;

use super::asynchronous::{Made, N};

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Counts how many of it are out, and the most.
#[operator(max_in_flight = 7)]
async fn counted(n: i64) -> i64 {
    MOST.fetch_max(NOW.fetch_add(1, SeqCst) + 1, SeqCst);
    give_way(1 + n as u64 % 4).await;
    NOW.fetch_sub(1, SeqCst);
    n + 1
}
pipeline! {
    /// One call per row.
    pub fn counts(numbers: Source<N, Bounded>);
    out = numbers -> map(counted.await) -> select(|x| row Made { n: x.n, made: Some(x.counted) });
    out -> sink;
}

fn numbers(rows: i64) -> Vec<N> {
    (0..rows).map(|n| N { n }).collect()
}
fn made(rows: i64) -> Vec<Made> {
    (0..rows).map(|n| Made { n, made: Some(n + 1) }).collect()
}

/// Whether rows are at one instance or at all of them, and in however many processes.
#[test]
fn instances_share_one_limit() {
    let mut reached = 0;
    for seed in 0..40u64 {
        let (threads, split) = ([1, 2, 3, 8][seed as usize % 4], [12, 200][seed as usize / 4 % 2]);
        let trial = Trial::new().threads(threads).morsel_rows(9).seed(seed);
        let shares = [0, 1, 2, 3][seed as usize / 8 % 4];
        let trial = if shares > 0 { trial.shares(shares) } else { trial };
        let ran = trial.run(counts(splits(&numbers(200), split))).unwrap();
        assert_eq!(ran.rows::<Made>("out").unwrap(), made(200), "seed {seed}");
        let most = MOST.swap(0, SeqCst);
        assert!(NOW.load(SeqCst) == 0 && most <= 7, "seed {seed}: {most} calls at once, {threads} instances in {shares} processes");
        // all of it for one instance, if no other has rows, and no other process a part
        reached += usize::from(most == 7);
        assert!(shares > 1 || most == 7, "seed {seed}: {most} calls at once");
    }
    assert!(reached >= 20);
}

/// One call at a time.
#[operator(max_in_flight = 1)]
async fn alone(n: i64) -> i64 {
    let now = ALONE.fetch_add(1, SeqCst);
    give_way(n as u64 % 3).await;
    ALONE.fetch_sub(1, SeqCst);
    assert_eq!(now, 0, "another call is out");
    n + 1
}
static ALONE: AtomicUsize = AtomicUsize::new(0);
pipeline! {
    /// One call after the other.
    pub fn one_by_one(numbers: Source<N, Bounded>);
    out = numbers -> map(alone.await) -> select(|x| row Made { n: x.n, made: Some(x.alone) });
    out -> sink;
}

#[test]
fn a_limit_of_one_is_one_everywhere() {
    for seed in 0..12u64 {
        let trial = Trial::new().threads(1 + seed as usize % 4).morsel_rows(5).seed(seed).shares(1 + seed as usize % 3);
        let ran = trial.run(one_by_one(splits(&numbers(60), 7))).unwrap();
        assert_eq!(ran.rows::<Made>("out").unwrap(), made(60), "seed {seed}");
    }
}

/// What a sensor says.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Said {
    pub sensor: i64,
    pub value: i64,
}
/// What was told of it.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Told {
    pub sensor: i64,
    pub value: i64,
    pub told: i64,
}

/// What a key has seen.
#[derive(State, Default)]
struct Seen {
    before: i64,
}
/// A number that tells all rows of a key before it and their order.
#[operator]
fn history(seen: &mut Seen, value: i64) -> Option<i64> {
    seen.before = (seen.before * 31 + value + 1) % 1_000_003;
    Some(seen.before)
}
/// Twice a number, later.
#[operator(max_in_flight = 6)]
async fn doubled(value: i64) -> i64 {
    give_way(value.unsigned_abs() % 7).await;
    value * 2
}
/// Refuses some, never ends on others.
#[operator(max_in_flight = 5, timeout = "50ms", retry = 1, retry_wait = "1ms")]
async fn picky(value: i64) -> std::result::Result<i64, String> {
    give_way(value.unsigned_abs() % 5).await;
    match value % 9 {
        4 => Err(format!("{value} is refused")),
        7 => std::future::pending().await,
        _ => Ok(value + 1),
    }
}

pipeline! {
    /// Calls where rows are read.
    pub fn as_read(readings: Source<Said>);
    told = readings -> map(doubled.await) -> key_by(sensor) -> keyed(|r| row { told: history(r.doubled) })
                    -> select(|r| row Told { sensor: r.sensor, value: r.value, told: r.told });
    told -> sink;
}
pipeline! {
    /// Calls where a number takes rows.
    pub fn by_number(readings: Source<Said>);
    told = readings -> partition_by(sensor) -> filter(|r| r.value % 5 != 0) -> with(|r| row { part: r.sensor }) -> map(doubled.await)
                    -> key_by(sensor) -> keyed(|r| row { told: history(r.doubled) })
                    -> select(|r| row Told { sensor: r.part, value: r.value, told: r.told });
    told -> sink;
}
pipeline! {
    /// Calls where a key has its rows, which is called otherwise by then.
    pub fn by_key(readings: Source<Said>);
    told = readings -> key_by(sensor) -> keyed(|r| row { first: history(r.value) }) -> select(|r| row { name: r.sensor, value: r.value, first: r.first })
                    -> with(|r| row { later: doubled(r.first).await }) -> key_by(name) -> keyed(|r| row { told: history(r.later) })
                    -> select(|r| row Told { sensor: r.name, value: r.value, told: r.told });
    told -> sink;
}
pipeline! {
    /// Rows that fail, in two steps.
    pub fn parted(readings: Source<Said>);
    (good, bad) = readings -> map(doubled.await) -> with(|r| row { picked: picky(r.value).await }) -> dead_letter();
    told = good -> key_by(sensor) -> keyed(|r| row { told: history(r.picked) }) -> select(|r| row Told { sensor: r.sensor, value: r.doubled, told: r.told });
    told -> sink;
    lost = bad -> key_by(sensor) -> keyed(|r| row { told: history(r.value) }) -> select(|r| row Told { sensor: r.sensor, value: r.value, told: r.told });
    lost -> sink;
}

/// Rows in flight go on where those that follow them come, so that each key's rows stay in their order: on any number of threads and processes, after crashes.
#[test]
fn rows_of_a_key_stay_in_order_on_the_way() {
    let readings: Vec<Said> = (0..70).map(|n| Said { sensor: n * 7 % 5, value: n * n % 37 }).collect();
    for (name, job) in [("read", 0), ("number", 1), ("key", 2), ("parted", 3)] {
        let check = StreamCheck::new(|feeds| {
            let rows = feeds.rows("readings", &readings);
            match job {
                0 => as_read(rows),
                1 => by_number(rows),
                2 => by_key(rows),
                _ => parted(rows),
            }
        });
        let checked = check.partitions(1).seeds(0..60).run().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(checked.restored > 8 && checked.results > 3000, "{name}: {checked:?}");
    }
}

#[test]
fn plans_say_where_it_works() {
    let plan = by_key(Vec::<Said>::new()).explain().unwrap();
    assert!(plan.contains("told/async: forward from told/run; per thread; keeps rows in flight"), "{plan}");
    let plan = one_by_one(Vec::<N>::new()).explain().unwrap();
    assert!(plan.contains("out/async: gather in source order from numbers/source; once; keeps rows in flight"), "{plan}");
}
