//! Clocks and times that misbehave, step by step.

use std::time::Duration;

use sabot::prelude::*;
use sabot::testing::{Driver, Feed};

use super::{Minute, Reading, SECOND, minutes};

fn at(s: i64) -> Reading {
    Reading { sensor: 1, value: 1.0, ts: Timestamp::new(s * SECOND) }
}

fn starts(driver: &mut Driver) -> Vec<(i64, u64)> {
    driver.take::<Minute>("minutes").unwrap().iter().map(|m| (m.window_start.value() / SECOND, m.rows)).collect()
}

/// Nothing waits for a clock but idleness: while it stands, rows move time and close windows; a silent partition is waited for.
#[test]
fn a_stopped_clock() {
    let feed = Feed::new(2).disorder(1.sec());
    let mut driver = Driver::start(minutes(feed.source(), 0.0)).unwrap();
    driver.feed(&feed, 0, [at(10), at(100)]).unwrap();
    driver.feed(&feed, 1, [at(20), at(90)]).unwrap();
    assert_eq!(starts(&mut driver), [(0, 2)]);
    driver.feed(&feed, 0, [at(1000)]).unwrap();
    assert_eq!(starts(&mut driver), [], "partition 1 is silent, and no time has passed since it was heard");
    // the clock goes on
    driver.advance(Duration::from_secs(6)).unwrap();
    driver.feed(&feed, 0, [at(1001)]).unwrap();
    assert_eq!(starts(&mut driver), [(60, 2)]);
    // a partition that comes back behind a time that was told without it is late, and counted
    driver.feed(&feed, 1, [at(91), at(1002)]).unwrap();
    let report = driver.finish().unwrap();
    assert_eq!(report.nodes.iter().map(|n| n.account.late).sum::<u64>(), 1);
    assert_eq!(starts(&mut driver), [(960, 3)]);
}

/// The rows of a partition that falls idle came in time: they are in their windows, whoever reads the partition, and however often it falls idle.
#[test]
fn a_partition_that_falls_idle_loses_nothing() {
    for threads in [1, 2, 3] {
        for seed in 0..3 {
            let feed = Feed::new(2).disorder(0.sec());
            let mut driver = Driver::seeded(minutes(feed.source(), 0.0).parallel(threads), seed).unwrap();
            driver.feed(&feed, 0, [at(10), at(70)]).unwrap();
            driver.feed(&feed, 1, [at(20), at(75)]).unwrap();
            assert_eq!(starts(&mut driver), [(0, 2)]);
            for minute in 2..4 {
                driver.advance(Duration::from_secs(4)).unwrap();
                driver.feed(&feed, 1, [at(minute * 60 - 2)]).unwrap();
                assert_eq!(starts(&mut driver), [], "partition 0 is waited for");
                driver.advance(Duration::from_secs(4)).unwrap();
                driver.feed(&feed, 1, [at(minute * 60 + 2)]).unwrap();
                let rows = if minute == 2 { 3 } else { 4 };
                assert_eq!(starts(&mut driver), [((minute - 1) * 60, rows)], "{threads} threads, seed {seed}");
                driver.feed(&feed, 0, [at(minute * 60 + 3), at(minute * 60 + 4)]).unwrap();
            }
            let report = driver.finish().unwrap();
            assert_eq!(report.nodes.iter().map(|n| n.account.late).sum::<u64>(), 0);
            assert_eq!(starts(&mut driver), [(180, 3)]);
        }
    }
}

#[test]
fn a_row_from_2100_and_one_before_1970() {
    let far = 4_102_444_800; // 2100-01-01
    let feed = Feed::new(1).disorder(1.sec());
    let mut driver = Driver::start(minutes(feed.source(), 0.0)).unwrap();
    driver.feed(&feed, 0, [at(-30), at(10)]).unwrap();
    assert_eq!(starts(&mut driver), [(-60, 1)], "a minute before 1970 is a minute like any other");
    driver.feed(&feed, 0, [at(far), at(20), at(70)]).unwrap();
    assert_eq!(starts(&mut driver), [(0, 1)], "time is in 2100 now");
    let report = driver.finish().unwrap();
    assert_eq!(report.nodes.iter().map(|n| n.account.late).sum::<u64>(), 2, "honest rows behind it are late, and counted");
    assert_eq!(starts(&mut driver), [(far, 1)]);
}

#[test]
fn a_crash_and_another_number_of_threads() {
    let feed = Feed::new(2).disorder(1.sec());
    let mut driver = Driver::seeded(minutes(feed.source(), 0.0).parallel(3), 7).unwrap();
    driver.feed(&feed, 0, [at(10), at(61)]).unwrap();
    let checkpoint = driver.checkpoint().unwrap();
    driver.feed(&feed, 1, [at(15), at(70)]).unwrap();
    assert_eq!(starts(&mut driver), [(0, 2)]);
    driver.crash();
    assert!(driver.feed(&feed, 0, [at(71)]).unwrap_err().to_string().contains("is over"), "a dead job takes no rows");
    driver.resume(&checkpoint, 2).unwrap();
    driver.advance(Duration::from_millis(10)).unwrap();
    assert_eq!(starts(&mut driver), [(0, 2)], "read again from the checkpoint");
    driver.finish().unwrap();
    assert_eq!(starts(&mut driver), [(60, 3)]);
}

/// A sensor's minute as it is so far.
#[derive(Record, Clone, Debug, PartialEq)]
struct SoFar {
    sensor: i64,
    rows: u64,
}

pipeline! {
    /// Readings per sensor, always up to date.
    pub fn so_far(readings: Source<Reading>);
    totals = readings -> key_by(sensor) -> window(global(on_update)) -> aggregate(|r| row { rows: count() });
    totals -> sink;
}

#[test]
fn changes_are_what_is_left() {
    let feed = Feed::new(1);
    let mut driver = Driver::start(so_far(feed.source())).unwrap();
    driver.feed(&feed, 0, [at(1), at(2)]).unwrap();
    assert_eq!(driver.rows::<SoFar>("totals").unwrap(), [SoFar { sensor: 1, rows: 2 }]);
    driver.feed(&feed, 0, [at(3)]).unwrap();
    assert_eq!(driver.rows::<SoFar>("totals").unwrap(), [SoFar { sensor: 1, rows: 3 }]);
    assert!(driver.take::<SoFar>("totals").unwrap_err().to_string().contains("are taken back"));
    driver.finish().unwrap();
}
