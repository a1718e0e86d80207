//! Dictionaries: a pure operator runs once per value that some row has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use sabot::kernel::{Level, Selection};
use sabot::prelude::*;

use crate::kit::{kernel, morsel, request, rows_of, run};

#[derive(Record, Clone, Debug)]
pub struct Tagged {
    pub id: i64,
    pub tag: Option<Str>,
    pub name: Str,
}

static UPPER: AtomicUsize = AtomicUsize::new(0);
static LEN: AtomicUsize = AtomicUsize::new(0);
static WANTED: AtomicUsize = AtomicUsize::new(0);

#[operator]
fn shout(s: &str) -> String {
    UPPER.fetch_add(1, Ordering::Relaxed);
    assert!(!s.starts_with("unused"), "called on a value that no row has");
    s.to_uppercase()
}
#[operator]
fn length(s: &str) -> i64 {
    LEN.fetch_add(1, Ordering::Relaxed);
    s.len() as i64
}
#[operator]
fn wanted(s: &str) -> bool {
    WANTED.fetch_add(1, Ordering::Relaxed);
    !s.ends_with('3')
}
#[operator]
fn fussy(s: &str) -> Result<i64, String> {
    if s.starts_with("bad") { Err(format!("no {s}")) } else { Ok(s.len() as i64) }
}

pipeline! {
    pub fn once(rows: Source<Tagged>);
    out = rows -> filter(|t| wanted(t.name)) -> select(|t| row { id: t.id, upper: shout(t.name), len: length(t.name), tag: shout(t.tag?) });
    out -> sink;
}
pipeline! {
    pub fn fussing(rows: Source<Tagged>);
    out = rows -> filter(|t| t.id != 5) -> select(|t| row { id: t.id, len: fussy(t.name) }) -> on_error(fail);
    out -> sink;
}

#[derive(Record, Clone, Debug, PartialEq)]
pub struct Out {
    pub id: i64,
    pub upper: Str,
    pub len: i64,
    pub tag: Option<Str>,
}

fn batch(n: usize, values: &[&str]) -> (RecordBatch, Vec<usize>) {
    let used = values.len() - 1;
    let codes: Vec<usize> = (0..n).map(|i| (i * 31 + i / 7) % used).collect();
    let keys = |null: bool| codes.iter().enumerate().map(|(i, c)| (!null || i % 5 != 0).then_some(*c as i32)).collect::<Int32Array>();
    let dictionary =
        |null| -> ArrayRef { Arc::new(DictionaryArray::<Int32Type>::new(keys(null), Arc::new(StringArray::from(values.to_vec())))) };
    let columns: [(&str, ArrayRef); 3] =
        [("id", Arc::new(Int64Array::from_iter_values(0..n as i64))), ("tag", dictionary(true)), ("name", dictionary(false))];
    (RecordBatch::try_from_iter_with_nullable(columns.map(|(n, a)| (n, a, n == "tag"))).unwrap(), codes)
}

const VALUES: [&str; 7] = ["value 0", "a rather long value 1", "2", "value 3", "another rather long 4", "value 5", "unused"];

fn expected(codes: &[usize], alive: impl Fn(usize) -> bool) -> Vec<Out> {
    codes
        .iter()
        .enumerate()
        .filter(|(i, c)| alive(*i) && !VALUES[**c].ends_with('3'))
        .map(|(i, c)| {
            let upper: Str = VALUES[*c].to_uppercase().as_str().into();
            Out { id: i as i64, upper: upper.clone(), len: VALUES[*c].len() as i64, tag: (i % 5 != 0).then_some(upper) }
        })
        .collect()
}

#[test]
fn once_per_value() {
    let kernel = kernel("once");
    for level in Level::available() {
        for dense in [false, true] {
            let (whole, codes) = batch(1000, &VALUES);
            let [a, b, c] = [&UPPER, &LEN, &WANTED];
            [a, b, c].iter().for_each(|n| n.store(0, Ordering::Relaxed));
            let ran = run(&kernel, &morsel(&whole), &request(level, dense));
            assert_eq!(rows_of::<Out>(&ran), expected(&codes, |_| true));
            let distinct = codes.iter().collect::<BTreeSet<_>>().len();
            assert_eq!(WANTED.load(Ordering::Relaxed), distinct);
            assert!(LEN.load(Ordering::Relaxed) <= distinct && UPPER.load(Ordering::Relaxed) <= 2 * distinct);
            assert!(matches!(ran.morsel.batch.column_by_name("upper").unwrap().data_type(), DataType::Dictionary(_, _)));
            // sliced, and only rows that hold value 2
            let part = whole.slice(70, 900);
            let ran = run(&kernel, &morsel(&part), &request(level, dense));
            let want: Vec<Out> = expected(&codes, |i| (70..970).contains(&i));
            assert_eq!(rows_of::<Out>(&ran), want);
            let mut m = morsel(&whole);
            let words: Vec<u64> = codes.chunks(64).map(|c| c.iter().enumerate().fold(0, |w, (i, c)| w | u64::from(*c == 2) << i)).collect();
            m.selection = Some(Selection::new(words));
            WANTED.store(0, Ordering::Relaxed);
            assert_eq!(rows_of::<Out>(&run(&kernel, &m, &request(level, dense))), expected(&codes, |i| codes[i] == 2));
            assert_eq!(WANTED.load(Ordering::Relaxed), 1);
        }
    }
}

#[test]
fn an_error_falls_back_to_rows() {
    let kernel = kernel("fussing");
    // the bad value is only in row 5, which is filtered out
    let mut codes = vec![0; 500];
    codes[5] = 1;
    let build = |codes: &[i32]| {
        let names = DictionaryArray::<Int32Type>::new(Int32Array::from(codes.to_vec()), Arc::new(StringArray::from(vec!["fine", "bad"])));
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..500));
        RecordBatch::try_from_iter([("id", ids), ("name", Arc::new(names) as ArrayRef)]).unwrap()
    };
    for level in Level::available() {
        let ran = run(&kernel, &morsel(&build(&codes)), &request(level, true));
        assert_eq!(ran.morsel.rows(), 499);
        let mut bad = codes.clone();
        bad[300] = 1;
        let text = kernel.run(&morsel(&build(&bad)), &request(level, true)).unwrap_err().to_string();
        assert!(text.contains("no bad") && text.contains("row 1300"), "{text}");
    }
}
