//! A program that tests kill: numbers without an end, and results of them that change, into any sink, and a topic into any sink.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use sabot::connect::{Generate, from_fn};
use sabot::prelude::*;

/// A number, with its time.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Number {
    n: i64,
    #[event_time]
    ts: Timestamp<Micros>,
}

/// Numbers without an end: partition p of 3 has p, 3 + p, 6 + p and so on, so many per second.
fn counted(rate: f64) -> Result<Generate> {
    let schema = Arc::new(sabot::record::schema_of::<Number>());
    let columns = Arc::clone(&schema);
    let source = from_fn(schema, 3, None, move |partition, first, rows| {
        let range = first as i64..first as i64 + rows as i64;
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values(range.clone().map(|i| i * 3 + i64::from(partition))));
        let ts: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(range.clone().map(|n| n * 1000)));
        Ok((RecordBatch::try_new(Arc::clone(&columns), vec![n, ts])?, Some((range.end - 1) * 1000)))
    });
    source.rows_per_second(rate)
}

pipeline! {
    /// All numbers of three partitions.
    pub fn ledger(rate: f64);
    numbers = source(Source::<Number, Unbounded>::custom(move || counted(rate)));
    all     = numbers -> filter(|n| n.n >= 0);
    all -> sink;
}

pipeline! {
    /// What has come of each of sixty keys, and that of the keys whose count is no multiple of five: each of these leaves and comes back.
    pub fn tally(rate: f64);
    numbers = source(Source::<Number, Unbounded>::custom(move || counted(rate)));
    totals  = numbers -> with(|n| row { key: n.n % 60 }) -> key_by(key) -> window(global(on_update))
                      -> aggregate(|n| row { rows: count(), sum: sum(n.n), last: max(n.n) });
    some    = totals -> filter(|t| t.rows % 5 != 0);
    totals -> sink;
    some -> sink;
}

/// A number alone.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Bare {
    n: i64,
}

pipeline! {
    /// Numbers from elsewhere, as they are.
    pub fn copy(numbers: Source<Bare>);
    all = numbers -> filter(|n| n.n >= 0);
    all -> sink;
}

pipeline! {
    /// How many numbers from elsewhere there are of each second of event time.
    pub fn seconds(numbers: Source<Number>);
    all = numbers -> watermark(disorder = 0.sec()) -> with(|n| row { key: n.n * 0 }) -> key_by(key)
                   -> window(tumbling(1.sec())) -> aggregate(|n| row { rows: count() });
    all -> sink;
}

pipeline! {
    /// Numbers from elsewhere, and what is none.
    pub fn sift(numbers: Source<Bare>);
    (all, bad) = numbers -> bad_rows();
    all -> sink;
    bad -> sink;
}

fn main() -> Result<()> {
    sabot::main()
}
