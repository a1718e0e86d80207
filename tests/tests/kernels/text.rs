//! Text: borrowed from the input without a copy, made anew through the arena, in every encoding.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use sabot::kernel::Level;
use sabot::prelude::*;
use sabot::record::to_batch;

use crate::kit::{LENGTHS, NULLS, Rng, check, encoded, kernel, morsel, request, run};

#[derive(Record, Clone, Debug)]
pub struct Line {
    pub id: i64,
    pub s: Str,
    pub t: Option<Str>,
}

fn lines(n: usize, nulls: u64) -> Vec<Line> {
    let mut r = Rng(3 + n as u64 + nulls);
    let words = ["", "a", "twelve bytes", "thirteen byte", "GET /a/long/path/index.html", "ünïcödé text of some length", "x y z"];
    (0..n)
        .map(|i| {
            let (s, t) = (words[r.below(7) as usize], words[r.below(7) as usize]);
            Line { id: i as i64, s: s.into(), t: r.maybe(nulls, t.into()) }
        })
        .collect()
}

#[derive(Record, Clone, Debug, PartialEq)]
pub struct Words {
    pub tail: Str,
    pub upper: Str,
    pub both: Option<Str>,
    pub first: Option<Str>,
    pub count: u32,
}

#[operator]
fn tail(s: &str) -> &str {
    s.split_once(' ').map_or(s, |(_, rest)| rest)
}
#[operator]
fn upper(s: &str) -> String {
    s.to_uppercase()
}

pipeline! {
    pub fn words(lines: Source<Line>);
    out = lines -> filter(|l| !l.s.is_empty()) -> select(|l| row {
        tail: tail(l.s), upper: upper(l.s), both: format!("{}/{}", l.s, l.t?), first: l.t.and_then(|t| t.split(' ').next()), count: l.s.chars().count() as u32,
    });
    out -> sink;
}

#[test]
fn text_agrees() {
    for n in LENGTHS {
        for nulls in NULLS {
            let rows = lines(n, nulls);
            check("words", &rows, &to_batch(&rows), |l| {
                (!l.s.is_empty()).then(|| Words {
                    tail: tail(&l.s).into(),
                    upper: upper(&l.s).into(),
                    both: l.t.as_ref().map(|t| format!("{}/{t}", l.s).into()),
                    first: l.t.as_ref().and_then(|t| t.split(' ').next()).map(Into::into),
                    count: l.s.chars().count() as u32,
                })
            });
        }
    }
}

pipeline! {
    pub fn tails(lines: Source<Line>);
    out = lines -> select(|l| row { tail: tail(l.s), id: l.id });
    out -> sink;
}

fn address(batch: &RecordBatch) -> std::ops::Range<usize> {
    let s = batch.column_by_name("s").unwrap();
    let buffer = match s.data_type() {
        DataType::Utf8 => s.as_string::<i32>().values().clone(),
        DataType::LargeUtf8 => s.as_string::<i64>().values().clone(),
        _ => s.as_string_view().data_buffers()[0].clone(),
    };
    let start = buffer.as_ptr() as usize;
    start..start + buffer.len()
}

/// A result longer than a view's 12 inline bytes lies where the input lies.
#[test]
fn borrowed_text_is_a_view() {
    let kernel = kernel("tails");
    let batch = to_batch(&lines(500, 0));
    for text in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View] {
        for batch in [encoded(&batch, &text), encoded(&batch, &text).slice(70, 300)] {
            let input = address(&batch);
            for level in Level::available() {
                let ran = run(&kernel, &morsel(&batch), &request(level, true));
                let out = ran.morsel.batch.column_by_name("tail").unwrap().as_string_view().clone();
                let long: Vec<&str> = out.iter().flatten().filter(|s| s.len() > 12).collect();
                assert!(long.len() > 50);
                assert!(long.iter().all(|s| input.contains(&(s.as_ptr() as usize))), "a copy of {text}");
            }
        }
    }
}

pipeline! {
    pub fn big_strings(lines: Source<Line>);
    out = lines -> select(|l| row { x: l.s.repeat(400), y: Arc::<str>::from(l.s).to_string() });
    out -> sink;
}

/// More text than a block of the arena holds.
#[test]
fn made_text_outgrows_a_block() {
    let rows = lines(3000, 0);
    let ran = run(&kernel("big_strings"), &morsel(&to_batch(&rows)), &request(Level::current(), true));
    let (x, y) = (ran.morsel.batch.column(0).as_string_view(), ran.morsel.batch.column(1).as_string_view());
    x.to_data().validate_full().unwrap();
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(x.value(i), row.s.repeat(400));
        assert_eq!(y.value(i), &*row.s);
    }
}
