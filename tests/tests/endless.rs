//! An endless job: watermarks close windows, late rows are dropped at the source, and what a stopped or crashed job
//! gives is the batch result over the rows it consumed.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sabot::prelude::*;
use sabot::runtime::Checkpoint;
use sabot::testing::{Ran, Trial, same_rows};

#[path = "endless/changes.rs"]
mod changes;
#[path = "endless/driven.rs"]
mod driven;
#[path = "endless/edges.rs"]
mod edges;
#[path = "endless/hops.rs"]
mod hops;
#[path = "endless/joined.rs"]
mod joined;
#[path = "endless/joins.rs"]
mod joins;
#[path = "endless/kept.rs"]
mod kept;
#[path = "endless/kinds.rs"]
mod kinds;
#[path = "endless/late.rs"]
mod late;
#[path = "endless/nexmark.rs"]
mod nexmark;
#[path = "endless/retractions.rs"]
mod retractions;
#[path = "endless/sessions.rs"]
mod sessions;
#[path = "endless/timers.rs"]
mod timers;
#[path = "endless/tops.rs"]
mod tops;
#[path = "endless/updates.rs"]
mod updates;

/// What a sensor says.
#[derive(Record, Clone, Debug, PartialEq)]
struct Reading {
    sensor: i64,
    value: f64,
    #[event_time]
    ts: Timestamp<Micros>,
}

/// A sensor's minute.
#[derive(Record, Clone, Debug, PartialEq)]
struct Minute {
    sensor: i64,
    window_start: Timestamp<Micros>,
    total: f64,
    least: f64,
    rows: u64,
}

pipeline! {
    /// Readings per sensor and minute.
    pub fn minutes(readings: Source<Reading>, above: f64);
    minutes = readings -> filter(|r| r.value >= above)
                       -> key_by(sensor) -> window(tumbling(1.minute()))
                       -> aggregate(|r| row { total: sum(r.value), least: min(r.value), rows: count() });
    minutes -> sink;
}

/// The busiest minutes of an hour: windows of windows.
#[derive(Record, Clone, Debug, PartialEq)]
struct Hour {
    sensor: i64,
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    most: u64,
    minutes: u64,
}

pipeline! {
    /// Windows of windows.
    pub fn hours(readings: Source<Reading>);
    hours = readings -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|r| row { rows: count() })
                     -> key_by(sensor) -> window(tumbling(1.hour())) -> aggregate(|m| row { most: max(m.rows), minutes: count() });
    hours -> sink;
}

const SECOND: i64 = 1_000_000;

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Row `row` of a partition: about three seconds on, up to seven seconds back, so that some rows are late.
fn reading(partition: u32, row: u64) -> Reading {
    let random = mix(u64::from(partition) << 40 | row);
    let back = if random.is_multiple_of(7) { (random >> 8) % 7 } else { (random >> 8) % 4 };
    Reading {
        sensor: (random >> 16) as i64 % 3,
        value: (random >> 20 & 0xffff) as f64 / 7.0,
        ts: Timestamp::new((row as i64 * 3 - back as i64) * SECOND + i64::from(partition)),
    }
}

/// How many rows of each partition were read.
type Consumed = Arc<Mutex<BTreeMap<u32, u64>>>;

fn source(partitions: u32, disorder: i64, consumed: &Consumed) -> Source<Reading> {
    let consumed = Arc::clone(consumed);
    let make = move |partition, row| {
        consumed.lock().unwrap().insert(partition, row + 1);
        reading(partition, row)
    };
    generate(partitions, make).disorder((disorder * SECOND).into()).into()
}

/// Runs a job up to a stop; with an odd seed it crashes there first, and goes on from its last snapshot with `threads`.
fn stopped(seed: u64, mut trial: Trial, threads: usize, stop: u64, consumed: &Consumed, job: impl Fn() -> sabot::stream::Job) -> Ran {
    if seed % 2 == 1 {
        let ran = trial.snapshot_at(stop / 3).snapshot_at(stop * 2 / 3).crash_at(stop).run(job()).unwrap();
        *consumed.lock().unwrap() = positions(ran.checkpoint.as_ref());
        trial = Trial::new().threads(threads).morsel_rows(13).seed(seed + 1000).from(ran.checkpoint);
    }
    trial.stop_at(stop).run(job()).unwrap_or_else(|e| panic!("seed {seed}: {e}"))
}

/// The rows that were consumed, in time; and how many were late.
fn rows_of(consumed: &Consumed, disorder: i64) -> (Vec<Reading>, u64) {
    let (mut rows, mut late) = (Vec::new(), 0);
    for (partition, end) in consumed.lock().unwrap().iter() {
        let mut watermark = i64::MIN;
        for row in 0..*end {
            let r = reading(*partition, row);
            if r.ts.value() < watermark {
                late += 1;
            } else {
                watermark = watermark.max(r.ts.value() - disorder * SECOND);
                rows.push(r);
            }
        }
    }
    (rows, late)
}

fn check(seed: u64, ran: &Ran, consumed: &Consumed, disorder: i64) -> u64 {
    let (rows, late) = rows_of(consumed, disorder);
    let batch: Vec<Minute> = minutes(rows, 10.0).sequential().collect().unwrap();
    let stream: Vec<Minute> = ran.rows("minutes").unwrap();
    same_rows(&stream, &batch, 1e-9).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    let report = ran.report.as_ref().unwrap();
    assert_eq!(report.nodes[0].account.late, late, "seed {seed}: late rows are counted at the source");
    assert_eq!(ran.late(), late, "seed {seed}: and nowhere else");
    late
}

#[test]
fn stopped_anywhere_equals_batch() {
    let (mut late, mut windows) = (0, 0);
    for seed in 0..100u64 {
        let random = mix(seed);
        let (instances, partitions) = (1 + random as usize % 4, 1 + (random >> 8) as u32 % 3);
        let disorder = (random >> 16) as i64 % 6;
        let (stop, morsel) = (100 + (random >> 24) % 1200, [1, 7, 50][(random >> 40) as usize % 3]);
        let consumed = Consumed::default();
        let trial = Trial::new().threads(instances).morsel_rows(morsel).seed(seed).stop_at(stop);
        let ran = trial.run(minutes(source(partitions, disorder, &consumed), 10.0)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        late += check(seed, &ran, &consumed, disorder);
        windows += ran.rows::<Minute>("minutes").unwrap().len();
    }
    assert!(late > 500 && windows > 500, "the test shows something: {late} late rows, {windows} windows");
}

/// Windows leave when they are over, not at the end.
#[test]
fn watermarks_close_windows() {
    let consumed = Consumed::default();
    let ran = Trial::new().threads(2).morsel_rows(10).seed(5).stop_at(3000).run(minutes(source(1, 5, &consumed), 0.0)).unwrap();
    let rows: Vec<Minute> = ran.rows("minutes").unwrap();
    let node = ran.report.as_ref().unwrap().nodes.iter().find(|n| n.name.ends_with("aggregate.partial")).unwrap();
    assert!(rows.len() > 50, "{} windows", rows.len());
    // a batch job would have sent one partial result per split and group, at its end; here each window was sent when over
    let starts: Vec<i64> = rows.iter().map(|r| r.window_start.value()).collect();
    assert!(starts[..starts.len() - 9].is_sorted(), "in order of time, but for what was open at the end: {starts:?}");
    assert!(node.account.rows_out > 50);
}

#[test]
fn windows_of_windows() {
    for seed in 0..20u64 {
        let consumed = Consumed::default();
        let trial = Trial::new().threads(1 + seed as usize % 4).morsel_rows(40).seed(seed).stop_at(2000 + seed * 50);
        let ran = trial.run(hours(source(1 + seed as u32 % 3, 4, &consumed))).unwrap();
        let (rows, late) = rows_of(&consumed, 4);
        let batch: Vec<Hour> = hours(rows).sequential().collect().unwrap();
        same_rows(&ran.rows::<Hour>("hours").unwrap(), &batch, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(ran.late(), late, "seed {seed}");
    }
}

#[test]
fn a_crash_loses_and_repeats_nothing() {
    let mut restored = 0;
    for seed in 0..100u64 {
        let random = mix(seed ^ 0xc0ffee);
        let partitions = 1 + (random >> 8) as u32 % 3;
        let disorder = (random >> 16) as i64 % 6;
        let morsel = [1, 7, 50][(random >> 40) as usize % 3];
        let crash = 300 + (random >> 24) % 700;
        let consumed = Consumed::default();
        let job = || minutes(source(partitions, disorder, &consumed), 10.0);
        let first = Trial::new().threads(1 + random as usize % 4).morsel_rows(morsel).seed(seed).crash_at(crash);
        let ran = first.snapshot_at(crash / 3).snapshot_at(crash / 2).snapshot_at(crash * 2 / 3).run(job()).unwrap();
        assert!(ran.crashed(), "seed {seed}");
        // what was read after the cut will be read once more
        *consumed.lock().unwrap() = positions(ran.checkpoint.as_ref());
        restored += u64::from(ran.checkpoint.is_some());
        let again = Trial::new().threads(1 + (random >> 4) as usize % 4).morsel_rows(13).seed(seed + 1000).stop_at(200 + seed * 4);
        let ran = again.from(ran.checkpoint).run(job()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        check(seed, &ran, &consumed, disorder);
    }
    assert!(restored > 80, "{restored} of 100 had a complete checkpoint");
}

fn positions(checkpoint: Option<&Checkpoint>) -> BTreeMap<u32, u64> {
    let open = checkpoint.iter().flat_map(|c| &c.positions).flat_map(|p| &p.open);
    open.map(|o| (o.partition, o.row)).collect()
}

/// The bounded variant of a generator has no late rows: all count.
#[test]
fn a_limited_generator_is_a_batch() {
    let rows: Vec<Reading> = (0..2).flat_map(|p| (0..500).map(move |r| reading(p, r))).collect();
    let batch: Vec<Minute> = minutes(rows, 10.0).sequential().collect().unwrap();
    for seed in 0..10 {
        let ran = Trial::new()
            .threads(1 + seed as usize % 4)
            .morsel_rows(33)
            .seed(seed)
            .run(minutes(generate(2, reading).rows(500), 10.0))
            .unwrap();
        same_rows(&ran.rows::<Minute>("minutes").unwrap(), &batch, 1e-9).unwrap();
        assert_eq!(ran.late(), 0);
    }
}

pipeline! {
    /// A time that no source can tell.
    pub fn computed_time(readings: Source<Reading>);
    computed = readings -> with(|r| row { later: r.ts + 1.sec() }) -> event_time(later)
                        -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|r| row { rows: count() });
    computed -> sink;
}
/// As [`computed_time`] gives it.
#[derive(Record, Clone, Debug, PartialEq)]
struct Counted {
    sensor: i64,
    rows: u64,
}

#[test]
fn a_computed_time_is_refused_where_it_would_wait_for_ever() {
    let rows: Vec<Reading> = (0..50).map(|r| reading(0, r)).collect();
    let counted: Vec<Counted> = computed_time(rows).collect().unwrap();
    assert_eq!(counted.iter().map(|c| c.rows).sum::<u64>(), 50, "a batch needs no watermark");
    let error = Trial::new().seed(1).stop_at(100).run(computed_time(generate(1, reading))).unwrap_err().to_string();
    assert!(error.contains("computed_time/computed/aggregate") && error.contains("`later`, which is computed"), "{error}");
}

#[test]
fn a_rate_holds_an_endless_source_back_and_stop_ends_it() {
    let running = minutes(generate(1, reading).rows_per_second(2000.0), 0.0).sink("minutes", sabot::connect::SinkSpec::Blackhole);
    let control = sabot::runtime::Control::new();
    let stopper = control.clone();
    let clock = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        stopper.stop();
    });
    let report = running.parallel(2).run_with(&control).unwrap();
    clock.join().unwrap();
    let rows = report.nodes[0].account.rows_in;
    assert!(rows > 0 && rows < 20_000, "{rows} rows in 0.3 s at 2000/s");
}
