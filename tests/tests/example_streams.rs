//! Each pipeline of the examples whose source may be endless, unchanged on an endless source: the stream is the batch.
//!
//! `SABOT_SEEDS=10000` searches longer. `async_lookup` is not here: its function sleeps by tokio's clock, which a simulation does not have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code, unreachable_pub)]

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use sabot::stream::Job;
use sabot::testing::{Checked, Feeds, StreamCheck};

#[path = "../../examples/examples/compose.rs"]
mod compose;
#[path = "../../examples/examples/daily_drag.rs"]
mod daily_drag;
#[path = "../../examples/examples/endless.rs"]
mod endless;
#[path = "../../examples/examples/hello.rs"]
mod hello;
#[path = "../../examples/examples/user_functions.rs"]
mod user_functions;

const ROWS: i64 = 40;

fn mix(n: i64) -> i64 {
    let x = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20) as i64
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}
fn integers(of: impl Fn(i64) -> Option<i64>) -> ArrayRef {
    Arc::new((0..ROWS).map(of).collect::<Int64Array>())
}
fn floats(of: impl Fn(i64) -> Option<f64>) -> ArrayRef {
    Arc::new((0..ROWS).map(of).collect::<Float64Array>())
}
fn texts(of: impl Fn(i64) -> &'static str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values((0..ROWS).map(of)))
}
/// `step` seconds from row to row, some up to `back` seconds late.
fn times(step: i64, back: i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values((0..ROWS).map(|n| (n * step - mix(n) % (back + 1)) * 1_000_000)))
}

fn symbol(n: i64) -> &'static str {
    ["ACME.N", "BOLT.N", "ACME.L", "COGS.N"][mix(n) as usize % 4]
}

fn check(most: u32, job: impl Fn(&Feeds) -> Job) -> Checked {
    let seeds = std::env::var("SABOT_SEEDS").map_or(1000, |s| s.parse().unwrap());
    let checked = StreamCheck::new(job).partitions(most).tolerance(1e-9).seeds(0..seeds).run().unwrap_or_else(|e| panic!("{e}"));
    assert!(checked.results > seeds && checked.restored > seeds / 6 && checked.late == 0, "the check shows something: {checked:?}");
    checked
}

#[test]
fn daily_drag_as_a_stream() {
    let flights = batch(vec![
        ("carrier", texts(|n| ["UA", "AA", "B6"][mix(n) as usize % 3])),
        ("origin", texts(|_| "JFK")),
        ("dep_delay", integers(|n| (n % 7 != 0).then_some(mix(n) % 90 - 10))),
        ("distance", integers(|n| Some(200 + mix(n) % 2000))),
        ("time_hour", times(5 * 3600, 7200)),
    ]);
    check(3, |feeds| daily_drag::daily_drag(feeds.batch("flights", &flights), 500));
}

#[test]
fn totals_per_second_as_a_stream() {
    let trades = batch(vec![("symbol", texts(symbol)), ("qty", integers(|n| Some(mix(n) % 100))), ("ts", times(1, 3))]);
    check(3, |feeds| endless::per_second(feeds.batch("trades", &trades)));
}

#[test]
fn large_trades_as_a_stream() {
    let trades = batch(vec![
        ("symbol", texts(symbol)),
        ("price", floats(|n| Some(mix(n) as f64 % 1000.0 / 8.0))),
        ("qty", integers(|n| Some(mix(n) % 100))),
    ]);
    check(3, |feeds| hello::large(feeds.batch("trades", &trades), 500.0));
}

#[test]
fn clean_trades_as_a_stream() {
    let raw = batch(vec![
        ("symbol", texts(symbol)),
        ("price", floats(|n| (n % 5 != 0).then_some(mix(n) as f64 % 100.0))),
        ("qty", integers(|n| Some(mix(n) % 100))),
    ]);
    check(3, |feeds| compose::clean(feeds.batch("raw", &raw), 30));
}

/// Without event time the average of a key goes by source order, which only one partition has.
#[test]
fn smooth_prices_as_a_stream() {
    let trades = batch(vec![
        ("symbol", texts(symbol)),
        ("side", texts(|_| "B")),
        ("price", floats(|n| Some(mix(n) as f64 % 100.0))),
        ("qty", integers(|n| Some(mix(n) % 100))),
    ]);
    check(1, |feeds| user_functions::smooth(feeds.batch("trades", &trades)));
    let several = StreamCheck::new(|feeds| user_functions::smooth(feeds.batch("trades", &trades))).seeds(0..50).run();
    let message = several.expect_err("arrival decides over several partitions").to_string();
    assert!(message.contains("the stream is not as the batch with seed") && message.contains("rows suffice"), "{message}");
    let listed = message.lines().filter(|l| l.contains(", partition ")).count();
    assert!(listed == 2, "two rows of a symbol in two partitions suffice:\n{message}");
}
