//! Errors and panics of user code: what is said, and that nothing else changes.

use std::sync::atomic::{AtomicUsize, Ordering};

use sabot::kernel::{Level, Selection};
use sabot::prelude::*;
use sabot::record::to_batch;

use crate::kit::{check, kernel, morsel, request, rows_of, run};

#[derive(Record, Clone, Debug)]
pub struct Num {
    pub v: i64,
    pub w: i64,
}

fn nums(n: usize) -> Vec<Num> {
    (0..n).map(|i| Num { v: i as i64, w: (i as i64 * 7) % 10 + 1 }).collect()
}

#[operator]
fn picky(v: i64) -> Result<i64, String> {
    if v == 77 { Err(format!("{v} is not allowed")) } else { Ok(v * 2) }
}
#[operator]
fn explosive(v: i64) -> i64 {
    assert!(v != 77, "boom at {v}");
    v
}
#[operator(total)]
fn liar(v: i64, w: i64) -> i64 {
    assert!(w != 0, "called on garbage");
    v / w
}
static ROLLS: AtomicUsize = AtomicUsize::new(0);
#[operator(volatile)]
fn roll(v: i64) -> i64 {
    ROLLS.fetch_add(1, Ordering::Relaxed);
    assert!(v != 77, "boom at {v}");
    v
}

#[derive(Record, Clone, Debug, PartialEq)]
pub struct X {
    pub x: i64,
}

pipeline! {
    pub fn erring(nums: Source<Num>);
    out = nums -> filter(|n| n.w != 100) -> select(|n| row { x: picky(n.v) });
    out -> sink;
}
pipeline! {
    pub fn panicking(nums: Source<Num>);
    out = nums -> filter(|n| n.w != 100) -> select(|n| row { x: explosive(n.v) });
    out -> sink;
}
pipeline! {
    pub fn lying(nums: Source<Num>);
    out = nums -> filter(|n| n.w != 0) -> select(|n| row { x: liar(n.v, n.w) });
    out -> sink;
}
pipeline! {
    pub fn lying_predicate(nums: Source<Num>);
    out = nums -> filter(|n| n.w != 0) -> filter(|n| liar(n.v, n.w) >= 3) -> select(|n| row { x: explosive(n.v + 1000) });
    out -> sink;
}
pipeline! {
    pub fn rolling(nums: Source<Num>);
    out = nums -> select(|n| row { x: roll(n.v) });
    out -> sink;
}

fn message(pipeline: &str, rows: &[Num], level: Level) -> String {
    kernel(pipeline).run(&morsel(&to_batch(rows)), &request(level, true)).unwrap_err().to_string()
}

#[test]
fn errors_are_placed() {
    for level in Level::available() {
        let text = message("erring", &nums(1000), level);
        assert!(
            text.contains("77 is not allowed") && text.contains("picky") && text.contains("test/step") && text.contains("row 1077"),
            "{text}"
        );
        // the first of several
        let mut rows = nums(1000);
        rows[500].v = 77;
        rows[13].v = 77;
        let text = message("erring", &rows, level);
        assert!(text.contains("row 1013"), "{text}");
    }
}

#[test]
fn panics_are_placed() {
    for level in Level::available() {
        let text = message("panicking", &nums(1000), level);
        assert!(text.contains("boom at 77") && text.contains("explosive") && text.contains("row 1077"), "{text}");
        assert!(text.contains("failures.rs"), "{text}");
    }
}

/// The offending row is filtered out, or not selected: nothing fails.
#[test]
fn dropped_rows_do_not_fail() {
    for level in Level::available() {
        for name in ["erring", "panicking"] {
            let mut rows = nums(200);
            rows[77].w = 100;
            let made = rows_of::<X>(&run(&kernel(name), &morsel(&to_batch(&rows)), &request(level, true)));
            assert_eq!(made.len(), 199);
            let mut m = morsel(&to_batch(&nums(200)));
            m.selection = Some(Selection::new(vec![!0, !(1 << 13), !0, 0xff]));
            assert_eq!(rows_of::<X>(&run(&kernel(name), &m, &request(level, true))).len(), 199);
        }
    }
}

/// Where a kept row fails inside a run that keeps others, the row is still found.
#[test]
fn a_liar_is_demoted() {
    let mut rows = nums(1000);
    for i in [3, 64, 65, 700, 999] {
        rows[i].w = 0;
    }
    let batch = to_batch(&rows);
    let naive = |n: &Num| (n.w != 0).then(|| X { x: n.v / n.w });
    check("lying", &rows, &batch, naive);
    // the same kernel, again and again
    let kernel = kernel("lying");
    let want: Vec<X> = rows.iter().filter_map(naive).collect();
    for _ in 0..3 {
        assert_eq!(rows_of::<X>(&run(&kernel, &morsel(&batch), &request(Level::current(), true))), want);
    }
    check("lying_predicate", &rows, &batch, |n| (n.w != 0 && n.v / n.w >= 3).then(|| X { x: n.v + 1000 }));
}

#[test]
fn a_volatile_operator_runs_once() {
    for level in Level::available() {
        ROLLS.store(0, Ordering::Relaxed);
        let text = message("rolling", &nums(1000), level);
        assert!(text.contains("row 1077"), "{text}");
        assert_eq!(ROLLS.load(Ordering::Relaxed), 78);
    }
}
