//! `?` and `Option`, hoisted and not, and what lies under a null.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array};
use sabot::kernel::{Level, Selection};
use sabot::prelude::*;

use crate::kit::{LENGTHS, NULLS, Rng, check, kernel, morsel, poisoned, request, rows_of, run};

/// What lies under nulls, and in rows that are not selected.
const POISON: i64 = -1_000_000_007;

#[derive(Record, Clone, Debug)]
pub struct Holey {
    pub id: i64,
    pub a: Option<i64>,
    pub b: Option<i64>,
    pub s: Option<Str>,
}

fn holey(n: usize, nulls: u64) -> Vec<Holey> {
    let mut r = Rng(17 + n as u64 + nulls * 1000);
    (0..n)
        .map(|i| {
            let (a, b) = (r.below(200) as i64 - 100, r.below(9) as i64 + 1);
            Holey {
                id: i as i64,
                a: r.maybe(nulls, a),
                b: r.maybe(nulls, b),
                s: r.maybe(nulls, format!("{a} text long enough").as_str().into()),
            }
        })
        .collect()
}

fn poison(_: &str, column: &ArrayRef) -> ArrayRef {
    match (column.as_primitive_opt::<Int64Type>(), column.nulls()) {
        (Some(values), Some(nulls)) => {
            let poisoned = (0..values.len()).map(|i| if nulls.is_null(i) { POISON } else { values.value(i) }).collect::<Vec<_>>();
            Arc::new(Int64Array::new(poisoned.into(), Some(nulls.clone())))
        }
        _ => Arc::clone(column),
    }
}

static STRICT_CALLS: AtomicUsize = AtomicUsize::new(0);

#[operator]
fn strict(a: i64, b: i64) -> i64 {
    STRICT_CALLS.fetch_add(1, Ordering::Relaxed);
    assert!(a != POISON && b != POISON, "called on a null");
    a / b
}
#[operator]
fn quotient(a: i64, b: i64) -> i64 {
    assert!(a != POISON && b != POISON, "called on a null");
    a / b
}
#[operator(total)]
fn ratio(a: i64, b: i64) -> f64 {
    a as f64 / b as f64
}
#[operator]
fn sees_null(a: Option<i64>) -> i64 {
    assert!(a != Some(POISON), "called on a null");
    a.unwrap_or(-1)
}

#[derive(Record, Clone, Debug, PartialEq)]
pub struct Out {
    pub x: Option<i64>,
    pub y: Option<f64>,
    pub z: i64,
}

pipeline! {
    /// Not total: rows.
    pub fn strict_rows(rows: Source<Holey>);
    out = rows -> select(|t| row { x: quotient(t.a?, t.b?), y: ratio(t.a?, t.b?), z: sees_null(t.a) });
    out -> sink;
}
pipeline! {
    /// All `?` unconditional, not total, all outputs null together.
    pub fn strict_only(rows: Source<Holey>);
    out = rows -> filter(|t| t.a? > -50) -> select(|t| row { x: quotient(t.a?, t.b?), y: ratio(t.b?, t.b?), z: t.id });
    out -> sink;
}
pipeline! {
    /// Total and hoisted: lanes.
    pub fn total_lanes(rows: Source<Holey>);
    out = rows -> filter(|t| t.a? > -50) -> with(|t| row { y: ratio(t.a?, t.b?) }) -> select(|t| row { x: t.a, y: t.y, z: t.id ^ 1 });
    out -> sink;
}
pipeline! {
    /// A `?` that is not always reached.
    pub fn conditional(rows: Source<Holey>);
    out = rows -> select(|t| row {
        x: if t.id % 3 == 0 { t.a? } else { t.id },
        y: if t.id % 2 == 0 { ratio(t.a?, 2) } else { ratio(t.id, t.b?) },
        z: t.a.or(t.b).unwrap_or(0),
    });
    out -> sink;
}
pipeline! {
    /// A value that is null is used as one.
    pub fn through(rows: Source<Holey>);
    out = rows -> with(|t| row { r: ratio(t.a?, t.b?) }) -> with(|t| row { q: t.r? * 2.0 }) -> filter(|t| t.q.is_none_or(|q| q > -30.0))
               -> select(|t| row { x: t.b, y: t.q, z: t.r.map_or(-5, |r| r as i64) });
    out -> sink;
}

fn each(name: &str, naive: impl Fn(&Holey) -> Option<Out>) {
    for n in LENGTHS {
        for nulls in NULLS {
            let rows = holey(n, nulls);
            check(name, &rows, &poisoned(&rows, &poison), &naive);
        }
    }
}
fn both(t: &Holey) -> Option<(i64, i64)> {
    t.a.zip(t.b)
}

#[test]
fn strict_rows_agree() {
    each("strict_rows", |t| {
        Some(Out { x: both(t).map(|(a, b)| a / b), y: both(t).map(|(a, b)| a as f64 / b as f64), z: t.a.unwrap_or(-1) })
    });
}
#[test]
fn strict_only_agrees() {
    each("strict_only", |t| t.a.is_some_and(|a| a > -50).then(|| Out { x: both(t).map(|(a, b)| a / b), y: t.b.map(|_| 1.0), z: t.id }));
}
#[test]
fn total_lanes_agree() {
    each("total_lanes", |t| {
        t.a.is_some_and(|a| a > -50).then(|| Out { x: t.a, y: both(t).map(|(a, b)| a as f64 / b as f64), z: t.id ^ 1 })
    });
}
#[test]
fn conditional_agrees() {
    each("conditional", |t| {
        let x = if t.id % 3 == 0 { t.a } else { Some(t.id) };
        let y = if t.id % 2 == 0 { t.a.map(|a| a as f64 / 2.0) } else { t.b.map(|b| t.id as f64 / b as f64) };
        Some(Out { x, y, z: t.a.or(t.b).unwrap_or(0) })
    });
}
#[test]
fn through_agrees() {
    each("through", |t| {
        let r = both(t).map(|(a, b)| a as f64 / b as f64);
        let q = r.map(|r| r * 2.0);
        q.is_none_or(|q| q > -30.0).then(|| Out { x: t.b, y: q, z: r.map_or(-5, |r| r as i64) })
    });
}

#[derive(Record, Clone, Debug, PartialEq)]
pub struct One {
    pub x: Option<i64>,
}

pipeline! {
    pub fn counted(rows: Source<Holey>);
    out = rows -> filter(|t| t.id < 500) -> select(|t| row { x: strict(t.a?, t.b?) });
    out -> sink;
}

/// Once per kept row without nulls, never else.
#[test]
fn called_once_per_valid_kept_row() {
    let kernel = kernel("counted");
    for nulls in NULLS {
        let rows = holey(1000, nulls);
        let batch = poisoned(&rows, &poison);
        let mut m = morsel(&batch);
        let words: Vec<u64> =
            (0..1000usize.div_ceil(64)).map(|w| 0x5555_5555_5555_5555 & if w == 15 { (1 << 40) - 1 } else { !0 }).collect();
        m.selection = Some(Selection::new(words));
        for level in Level::available() {
            STRICT_CALLS.store(0, Ordering::Relaxed);
            let ran = run(&kernel, &m, &request(level, true));
            let seen = rows.iter().filter(|t| t.id % 2 == 0 && t.id < 500);
            let want: Vec<One> = seen.map(|t| One { x: both(t).map(|(a, b)| a / b) }).collect();
            assert_eq!(rows_of::<One>(&ran), want);
            assert_eq!(STRICT_CALLS.load(Ordering::Relaxed), want.iter().filter(|o| o.x.is_some()).count(), "{nulls} nulls of 1000");
        }
    }
}
