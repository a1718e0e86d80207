//! A program with pipelines that fail in every way that `tests/cli.rs` asks for.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use sabot::connect::from_fn;
use sabot::prelude::*;

/// A reading of a sensor.
#[derive(Record, Clone, Debug)]
#[record(schema = "schemas/reading.json")]
struct Reading {
    sensor: Str,
    value: f64,
}

/// A departure.
#[derive(Record, Clone, Debug)]
struct Flight {
    carrier: Str,
    distance: i64,
}

/// Numbers that may be null.
#[derive(Record, Clone, Debug)]
struct Pair {
    a: i64,
    b: Option<i64>,
}

/// A number in an endless stream.
#[derive(Record, Clone, Debug)]
struct Number {
    n: i64,
    #[event_time]
    ts: Timestamp<Micros>,
}

/// Fails on values over 100.
#[operator]
fn fragile(value: f64) -> f64 {
    assert!(value <= 100.0, "value {value} is too hot");
    value * 2.0
}

/// Panics on a zero, and must not be called on a null.
#[operator]
fn divided(a: i64, b: i64) -> i64 {
    a / b
}

pipeline! {
    /// Readings of at least a minimum.
    pub fn large(readings: Source<Reading, Bounded>, minimum: f64);
    large = readings -> filter(|r| r.value >= minimum);
    large -> sink;
}

pipeline! {
    /// Miles per carrier.
    pub fn miles(flights: Source<Flight, Bounded>);
    miles = flights -> key_by(carrier) -> aggregate(|f| row { miles: sum(f.distance) }) -> sort(carrier);
    miles -> sink;
}

pipeline! {
    /// An operator that panics.
    pub fn hot(readings: Source<Reading, Bounded>);
    doubled = readings -> with(|r| row { double: fragile(r.value) });
    doubled -> sink;
}

/// Takes its time.
#[operator]
fn slow(value: f64) -> f64 {
    std::thread::sleep(std::time::Duration::from_millis(10));
    value
}

pipeline! {
    /// Ten milliseconds per row.
    pub fn slowly(readings: Source<Reading, Bounded>);
    out = readings -> with(|r| row { slow: slow(r.value) });
    out -> sink;
}

pipeline! {
    /// Division beside nulls.
    pub fn ratios(pairs: Source<Pair, Bounded>);
    ratios = pairs -> select(|p| row { ratio: divided(p.a, p.b?) });
    ratios -> sink;
}

pipeline! {
    /// A parameter that must not be shown.
    pub fn guarded(readings: Source<Reading, Bounded>, token: Secret<i64>);
    out = readings -> filter(|r| r.value > *token.reveal() as f64);
    out -> sink;
}

pipeline! {
    /// Two results.
    pub fn two(readings: Source<Reading, Bounded>);
    low  = readings -> filter(|r| r.value < 10.0);
    high = readings -> filter(|r| r.value >= 10.0);
    low -> sink;
    high -> sink;
}

pipeline! {
    /// Windows of a size that must be positive.
    pub fn sized(numbers: Source<Number>, seconds: i64);
    sized = numbers -> with(|n| row { parity: n.n % 2 }) -> key_by(parity) -> window(tumbling(seconds.sec())) -> aggregate(|n| row { n: sum(n.n) });
    sized -> sink;
}

/// Numbers without an end, 1000 per second.
fn numbers() -> Result<sabot::connect::Generate> {
    counted(1, 1000.0)
}

/// Numbers without an end: partition p of n has p, n + p, 2 n + p and so on, so many per second.
fn counted(partitions: u32, rate: f64) -> Result<sabot::connect::Generate> {
    let schema = Arc::new(sabot::record::schema_of::<Number>());
    let columns = Arc::clone(&schema);
    let source = from_fn(schema, partitions, None, move |partition, first, rows| {
        let range = first as i64..first as i64 + rows as i64;
        let number = |i| i * i64::from(partitions) + i64::from(partition);
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values(range.clone().map(number)));
        let ts: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(range.clone().map(|n| n * 1000)));
        Ok((RecordBatch::try_new(Arc::clone(&columns), vec![n, ts])?, Some((range.end - 1) * 1000)))
    });
    source.rows_per_second(rate)
}

pipeline! {
    /// Never ends.
    pub fn forever();
    numbers = source(Source::<Number, Unbounded>::custom(numbers));
    sums    = numbers -> with(|n| row { parity: n.n % 2 }) -> key_by(parity) -> window(tumbling(100.ms())) -> aggregate(|n| row { n: count() });
    sums -> sink;
}

pipeline! {
    /// All numbers of three partitions, and their sums per partition and tenth of a second of event time.
    pub fn ledger(rate: f64);
    numbers = source(Source::<Number, Unbounded>::custom(move || counted(3, rate)));
    all     = numbers -> filter(|n| n.n >= 0);
    sums    = numbers -> with(|n| row { partition: n.n % 3 }) -> key_by(partition) -> window(tumbling(100.ms()))
                      -> aggregate(|n| row { sum: sum(n.n), rows: count() });
    all -> sink;
    sums -> sink;
}

pipeline! {
    /// All numbers of three partitions, and the sums of 1000 keys in a window that does not end: state enough for files of its own.
    pub fn hoard(rate: f64);
    numbers = source(Source::<Number, Unbounded>::custom(move || counted(3, rate)));
    all     = numbers -> filter(|n| n.n >= 0);
    sums    = numbers -> with(|n| row { key: n.n % 1000 }) -> key_by(key) -> window(tumbling(1000.hour()))
                      -> aggregate(|n| row { sum: sum(n.n), rows: count() });
    all -> sink;
    sums -> sink;
}

pipeline! {
    /// Promises an end that does not come.
    pub fn lie();
    numbers = source(Source::<Number, Bounded>::custom_bounded(numbers));
    sorted  = numbers -> sort(n);
    sorted -> sink;
}

fn main() -> Result<()> {
    sabot::main()
}
