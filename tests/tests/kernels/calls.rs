//! What a kernel touches: columns passed on are the input's own, columns that nobody reads may be absent or malformed.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use sabot::kernel::{Level, Request};
use sabot::prelude::*;
use sabot::record::to_batch;

use crate::kit::{forms, kernel, morsel, request, rows_of, run};

#[derive(Record, Clone, Debug)]
pub struct Trade {
    pub symbol: Str,
    pub price: f64,
    pub qty: i64,
    pub note: Option<Str>,
}

fn trades(n: usize) -> Vec<Trade> {
    (0..n)
        .map(|i| Trade {
            symbol: format!("symbol number {}", i % 7).as_str().into(),
            price: i as f64 / 3.0,
            qty: i as i64 % 50,
            note: (i % 3 == 0).then(|| "note".into()),
        })
        .collect()
}

#[operator]
fn notional(price: f64, qty: i64) -> f64 {
    price * qty as f64
}

pipeline! {
    pub fn passing(trades: Source<Trade>, minimum: i64);
    out = trades -> filter(|t| t.qty >= 10) -> with(|t| row { value: notional(t.price, t.qty) }) -> filter(|t| t.value < 1e4);
    out -> sink;
}

fn passing_kernel() -> Arc<dyn sabot::kernel::RunKernel> {
    let graph = sabot::stream::Graph::new("passing");
    passing::__build(&graph, 10);
    let code = graph.finish().table.into_values().next().unwrap();
    let sabot::stream::Code::Run(kernel) = code else { panic!("a run") };
    kernel
}

#[test]
fn columns_passed_on_are_not_copied() {
    let kernel = passing_kernel();
    for form in forms(&to_batch(&trades(1000))) {
        for level in Level::available() {
            let ran = run(&kernel, &form.morsel, &request(level, true));
            for name in ["symbol", "price", "qty", "note"] {
                let (from, to) = (form.morsel.batch.column_by_name(name).unwrap(), ran.morsel.batch.column_by_name(name).unwrap());
                assert!(Arc::ptr_eq(from, to), "{name} was copied ({})", form.what);
            }
        }
    }
}

#[derive(Record, Clone, Debug, PartialEq)]
pub struct Value {
    pub value: f64,
}

#[test]
fn unread_columns_are_not_needed() {
    let kernel = passing_kernel();
    let batch = to_batch(&trades(1000));
    let request = Request { outputs: Some(vec!["value".into()]), ..request(Level::current(), true) };
    let whole = rows_of::<Value>(&run(&kernel, &morsel(&batch), &request));
    assert!(!whole.is_empty());
    // without them
    let lean = batch.project(&[1, 2]).unwrap();
    assert_eq!(rows_of::<Value>(&run(&kernel, &morsel(&lean), &request)), whole);
    // in another order
    let turned = batch.project(&[2, 0, 1]).unwrap();
    assert_eq!(rows_of::<Value>(&run(&kernel, &morsel(&turned), &request)), whole);
    // the same kernel and request again over the first form: nothing that was remembered may be stale
    assert_eq!(rows_of::<Value>(&run(&kernel, &morsel(&batch), &request)), whole);
    // of a type that cannot be read at all
    let odd: ArrayRef = Arc::new(arrow_array::NullArray::new(1000));
    let with_odd =
        RecordBatch::try_from_iter([("price", Arc::clone(lean.column(0))), ("qty", Arc::clone(lean.column(1))), ("symbol", odd)]).unwrap();
    assert_eq!(rows_of::<Value>(&run(&kernel, &morsel(&with_odd), &request)), whole);
}

#[test]
fn predicates_can_be_skipped() {
    let kernel = passing_kernel();
    let rows = trades(1000);
    let batch = to_batch(&rows);
    let bit = |i: usize| 1u64 << kernel.lineage().units[i].bit;
    let value = |t: &Trade| t.price * t.qty as f64;
    for level in Level::available() {
        for (skip, kept) in [
            (0, rows.iter().filter(|t| t.qty >= 10 && value(t) < 1e4).count()),
            (bit(0), rows.iter().filter(|t| value(t) < 1e4).count()),
            (bit(2), rows.iter().filter(|t| t.qty >= 10).count()),
            (bit(0) | bit(2), rows.len()),
        ] {
            let request = Request { mask: !skip, ..request(level, false) };
            let ran = run(&kernel, &morsel(&batch), &request);
            assert_eq!(ran.morsel.rows(), kept, "skipping {skip:b}");
            assert_eq!(ran.filtered, rows.len() - kept);
        }
    }
}

#[test]
fn a_wrong_column_is_named() {
    let kernel = kernel("nullless");
    let batch = to_batch(&trades(10));
    let nulls: ArrayRef = arrow_array::new_null_array(&arrow_schema::DataType::Int64, 10);
    let bad = RecordBatch::try_from_iter_with_nullable([("price", Arc::clone(batch.column(1)), false), ("qty", nulls, true)]).unwrap();
    let message = kernel.run(&morsel(&bad), &request(Level::current(), true)).unwrap_err().to_string();
    assert!(message.contains("qty") && message.contains("null in row 0"), "{message}");
}

pipeline! {
    pub fn nullless(trades: Source<Trade>);
    out = trades -> select(|t| row { value: notional(t.price, t.qty) });
    out -> sink;
}
