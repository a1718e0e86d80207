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
    out = nums -> filter(|n| n.w != 100) -> select(|n| row { x: picky(n.v) }) -> on_error(fail);
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

#[operator]
fn halved(v: i64) -> Result<i64, String> {
    if v % 5 == 3 { Err(format!("{v} is odd")) } else { Ok(v / 2 + 1) }
}
#[operator]
fn short(v: i64) -> Result<String, String> {
    if v % 7 == 2 { Err(format!("{v} is long")) } else { Ok(format!("number {v} in words of some length")) }
}
/// Would panic on the blank of a value that failed.
#[operator]
fn inverse(v: i64) -> i64 {
    1_000_000 / v
}

#[derive(Record, Clone, Debug, PartialEq)]
pub struct Parsed {
    pub half: i64,
    pub text: Str,
    pub more: i64,
}
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Nulled {
    pub half: Option<i64>,
    pub text: Option<Str>,
    pub w: i64,
}
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Letter {
    pub w: i64,
    pub v: i64,
    pub error: Str,
    pub operator: Str,
    pub source: Str,
    pub row: u64,
}

pipeline! {
    pub fn dropping(nums: Source<Num>);
    out = nums -> filter(|n| n.w != 3)
               -> with(|n| row { half: halved(n.v), text: short(n.v) })
               -> filter(|n| n.w != 4)
               -> select(|n| row { half: n.half, text: n.text, more: inverse(n.half) })
               -> on_error(skip);
    out -> sink;
}
pipeline! {
    pub fn nulling(nums: Source<Num>);
    out = nums -> filter(|n| n.w != 3) -> select(|n| row { half: halved(n.v), w: n.w, text: short(n.v) }) -> on_error(null);
    out -> sink;
}

/// Rows without some, and dead letters, and nulls, against a plain loop.
#[test]
fn errors_are_data() {
    use sabot::kernel::ErrorPolicy;
    let rows = nums(1000);
    let mut gappy = morsel(&to_batch(&rows));
    gappy.selection =
        Some(Selection::new((0..1000usize.div_ceil(64)).map(|i| if i == 15 { 0xff } else { !(5 << i) }).collect::<Vec<u64>>()));
    for (level, dense, m) in Level::available().into_iter().flat_map(|l| [(l, true, morsel(&to_batch(&rows))), (l, false, gappy.clone())]) {
        let alive = |i: usize| m.selection.as_ref().is_none_or(|s| s.words()[i / 64] >> (i % 64) & 1 == 1);
        let seen: Vec<&Num> = rows.iter().enumerate().filter(|(i, n)| alive(*i) && n.w != 3).map(|(_, n)| n).collect();

        let letters = vec!["w".to_owned(), "v".to_owned()];
        let request = sabot::kernel::Request { errors: ErrorPolicy::DeadLetter, letters, source: "nums".into(), ..request(level, dense) };
        let ran = run(&kernel("dropping"), &m, &request);
        let fails = |n: &&&Num| n.v % 5 == 3 || n.v % 7 == 2;
        let good = seen.iter().filter(|n| !fails(n) && n.w != 4);
        let good: Vec<Parsed> = good
            .map(|n| Parsed {
                half: n.v / 2 + 1,
                text: format!("number {} in words of some length", n.v).into(),
                more: inverse(n.v / 2 + 1),
            })
            .collect();
        assert_eq!(rows_of::<Parsed>(&ran), good);
        let bad: Vec<Letter> = seen
            .iter()
            .filter(fails)
            .map(|n| {
                let said = [(n.v % 5 == 3).then(|| format!("{} is odd", n.v)), (n.v % 7 == 2).then(|| format!("{} is long", n.v))];
                let error = said.into_iter().flatten().collect::<Vec<_>>().join("; ");
                let operator = if n.v % 5 == 3 { "halved" } else { "short" };
                Letter { w: n.w, v: n.v, error: error.into(), operator: operator.into(), source: "nums".into(), row: 1000 + n.v as u64 }
            })
            .collect();
        let letters = ran.letters.as_ref().map(|l| l.batch.clone()).unwrap();
        assert_eq!(sabot::record::from_batch::<Letter>(&letters, "letters").unwrap(), bad);
        assert_eq!((ran.failed, ran.rows_in, ran.filtered), (bad.len(), m.rows(), m.rows() - bad.len() - good.len()));

        let request = sabot::kernel::Request { errors: ErrorPolicy::Null, ..request };
        let ran = run(&kernel("nulling"), &m, &request);
        let expected: Vec<Nulled> =
            seen.iter().map(|n| Nulled { half: halved(n.v).ok(), text: short(n.v).ok().map(Into::into), w: n.w }).collect();
        assert_eq!(rows_of::<Nulled>(&ran), expected);
        assert_eq!((ran.failed, ran.filtered), (0, m.rows() - expected.len()));
        assert!(ran.letters.is_none());
    }
}

/// A message names the function that failed and its column, not all functions of the run.
#[test]
fn the_one_that_failed_is_named() {
    let mut rows = nums(100);
    rows.retain(|n| n.v % 5 != 3);
    let text = message("dropping", &rows, Level::current());
    assert!(text.contains("operator `short` for column `text` in step `test/step` failed: 2 is long"), "{text}");
    assert!(!text.contains("halved") && !text.contains("inverse"), "{text}");
}
