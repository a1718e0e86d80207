//! The jobs that run in one process and on two agents, their tables, and what must come out.
//!
//! Tables are made once in each process, and their sources give slices of them: reading costs nothing, so that what an exchange costs is not hidden
//! behind it.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch};
use sabot::connect::from_fn;
use sabot::prelude::*;
use sabot::stream::Job;

/// Groups of the join's result.
const BUCKETS: i64 = 64;

#[derive(Record)]
struct Sale {
    key: i64,
    price: f64,
    quantity: i64,
}
#[derive(Record)]
struct Item {
    key: i64,
    bucket: i64,
    score: i64,
}

fn key(row: u64, keys: u64) -> i64 {
    (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as i64 % keys as i64
}
/// Sums of quarters are exact in any order.
fn price(row: u64) -> f64 {
    (row % 10_000) as f64 / 4.0
}
fn quantity(row: u64) -> i64 {
    (row % 100) as i64
}
fn score(key: i64) -> i64 {
    key * 7 % 1000
}

/// The rows of all jobs of this process: how many, and how many keys they have.
fn tables(rows: u64, keys: u64) -> &'static [RecordBatch; 2] {
    static TABLES: OnceLock<((u64, u64), [RecordBatch; 2])> = OnceLock::new();
    let (of, tables) = TABLES.get_or_init(|| {
        let sales: [(&str, ArrayRef); 3] = [
            ("key", Arc::new((0..rows).map(|r| key(r, keys)).collect::<Int64Array>())),
            ("price", Arc::new((0..rows).map(price).collect::<Float64Array>())),
            ("quantity", Arc::new((0..rows).map(quantity).collect::<Int64Array>())),
        ];
        // each key once, and not in their order
        let all = || (0..keys as i64).map(|n| (n + keys as i64 / 3) % keys as i64);
        let items: [(&str, ArrayRef); 3] = [
            ("key", Arc::new(all().collect::<Int64Array>())),
            ("bucket", Arc::new(all().map(|k| k % BUCKETS).collect::<Int64Array>())),
            ("score", Arc::new(all().map(score).collect::<Int64Array>())),
        ];
        let table = |columns: [(&'static str, ArrayRef); 3]| {
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, false))).unwrap()
        };
        ((rows, keys), [table(sales), table(items)])
    });
    assert_eq!(*of, (rows, keys), "a process has one table");
    tables
}

/// Makes them now.
pub fn load(rows: u64, keys: u64) {
    tables(rows, keys);
}

fn source<R: Record>(at: usize, rows: u64, keys: u64) -> Source<R, Bounded> {
    Source::custom_bounded(move || {
        let schema = Arc::new(sabot::record::schema_of::<R>());
        let all = if at == 0 { rows } else { keys };
        Ok(from_fn(schema, 1, Some(all), move |_, first, n| Ok((tables(rows, keys)[at].slice(first as usize, n), None))))
    })
}

pipeline! {
    /// Counts and sums of each key, all of which are written.
    pub fn grouped(rows: u64, keys: u64);
    sales  = source(source::<Sale>(0, rows, keys));
    groups = sales -> key_by(key) -> aggregate(|s| row { n: count(), price: sum(s.price), quantity: sum(s.quantity) });
    groups -> sink;
}

pipeline! {
    /// Each sale with its item, and sums of a few groups of that.
    pub fn joined(rows: u64, keys: u64);
    sales  = source(source::<Sale>(0, rows, keys));
    items  = source(source::<Item>(1, rows, keys));
    pairs  = sales -> key_by(key) -> join(items -> key_by(key), |s, i| row { bucket: i.bucket, price: s.price, quantity: s.quantity * i.score });
    groups = pairs -> key_by(bucket) -> aggregate(|p| row { n: count(), price: sum(p.price), quantity: sum(p.quantity) });
    groups -> sink;
}

/// One of them.
pub struct Case {
    pub pipeline: &'static str,
    pub title: &'static str,
    /// What its issue wants, as a part of the local throughput.
    pub wanted: f64,
    pub job: fn(u64, u64) -> Job,
    /// Options of `submit`.
    pub submit: &'static [&'static str],
    /// The group of a row, and what its quantity counts there.
    of: fn(i64, i64) -> (i64, i64),
}

const JOIN: Case = Case {
    pipeline: "joined",
    title: "join",
    wanted: 0.5,
    job: joined,
    submit: &[],
    of: |key, quantity| (key % BUCKETS, quantity * score(key)),
};

pub const CASES: &[Case] = &[
    JOIN,
    // a join that may have to spill deals out both sides
    Case { title: "join, both sides dealt out", submit: &["--memory", "16G"], ..JOIN },
    Case { pipeline: "grouped", title: "group by", wanted: 0.6, job: grouped, submit: &[], of: |key, quantity| (key, quantity) },
];

/// Count, sum of prices and sum of quantities of each group, by a plain loop.
pub fn expected(case: &Case, rows: u64, keys: u64) -> Vec<(u64, f64, i64)> {
    let groups = if case.pipeline == "joined" { BUCKETS as u64 } else { keys };
    let mut out = vec![(0, 0.0, 0); groups as usize];
    for row in 0..rows {
        let (group, quantity) = (case.of)(key(row, keys), quantity(row));
        let at: &mut (u64, f64, i64) = &mut out[group as usize];
        *at = (at.0 + 1, at.1 + price(row), at.2 + quantity);
    }
    out
}

/// Reads what a job has written, and compares it.
pub fn check(case: &Case, file: &Path, expected: &[(u64, f64, i64)]) {
    let mut seen = vec![false; expected.len()];
    for batch in arrow_ipc::reader::FileReader::try_new(std::fs::File::open(file).unwrap(), None).unwrap() {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("{:?}", batch.schema()));
        let group = column(if case.pipeline == "joined" { "bucket" } else { "key" }).as_primitive::<Int64Type>();
        let n = column("n");
        let n = |at: usize| match n.as_primitive_opt::<UInt64Type>() {
            Some(n) => n.value(at),
            None => n.as_primitive::<Int64Type>().value(at) as u64,
        };
        let (prices, quantities) = (column("price").as_primitive::<Float64Type>(), column("quantity").as_primitive::<Int64Type>());
        assert!(batch.columns().iter().all(|c| c.null_count() == 0), "{}: nulls", case.pipeline);
        for at in 0..batch.num_rows() {
            let group = group.value(at) as usize;
            assert!(!std::mem::replace(&mut seen[group], true), "{}: group {group} comes twice", case.pipeline);
            let got = (n(at), prices.value(at), quantities.value(at));
            assert_eq!(got, expected[group], "{}: group {group}", case.pipeline);
        }
    }
    let missing = seen.iter().zip(expected).filter(|(seen, e)| !**seen && e.0 > 0).count();
    assert_eq!(missing, 0, "{}: groups are missing", case.pipeline);
}
