//! What becomes of rows for which an async operator fails: errors, timeouts, exhausted retries.

#![allow(unreachable_pub)]

use std::time::Duration;

use sabot::operator::Account;
use sabot::prelude::*;
use sabot::testing::{Ran, Trial};

use super::asynchronous::{Made, N};

/// A row without a value.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Lost {
    pub n: i64,
    pub error: Str,
    pub operator: Str,
    pub source: Str,
    pub split: u64,
    pub row: u64,
}

/// Refuses every fifth number, never ends on others, each after three calls.
#[operator(max_in_flight = 4, timeout = "100ms", retry = 2, retry_wait = "1ms")]
async fn tried(n: i64) -> std::result::Result<i64, String> {
    match n % 5 {
        2 => Err(format!("{n} is refused")),
        3 if n % 2 == 0 => std::future::pending().await,
        _ => Ok(n + 1),
    }
}
/// As [`tried`], once and in any order.
#[operator(max_in_flight = 4, timeout = "100ms", unordered)]
async fn once(n: i64) -> std::result::Result<i64, String> {
    tried(n).await
}
/// Cannot fail but by taking too long.
#[operator(timeout = "300ms")]
async fn slow(n: i64) -> i64 {
    tokio::time::sleep(Duration::from_millis(if n % 7 == 0 { 100_000 } else { 0 })).await;
    n + 1
}
/// Falls over.
#[operator]
async fn clumsy(n: i64) -> std::result::Result<i64, String> {
    assert!(n != 17, "fell over {n}");
    Ok(n)
}

pipeline! {
    /// Values, and rows without.
    pub fn parted(numbers: Source<N>);
    (good, bad) = numbers -> filter(|x| x.n % 11 != 0) -> with(|x| row { made: tried(x.n).await }) -> dead_letter();
    out = good -> select(|x| row Made { n: x.n, made: Some(x.made) });
    out -> sink;
    lost = bad -> select(|b| row Lost { n: b.n, error: b.error, operator: b.operator, source: b.source, split: b.split, row: b.row });
    lost -> sink;
}
pipeline! {
    /// As calls end.
    pub fn parted_once(numbers: Source<N>);
    (good, bad) = numbers -> filter(|x| x.n % 11 != 0) -> map(once.await) -> dead_letter();
    out = good -> select(|x| row Made { n: x.n, made: Some(x.once) });
    out -> sink;
    lost = bad -> select(|b| row Lost { n: b.n, error: b.error, operator: b.operator, source: b.source, split: b.split, row: b.row });
    lost -> sink;
}
pipeline! {
    /// Without those that fail, in two statements.
    pub fn skipped(numbers: Source<N>);
    made = numbers -> with(|x| row { made: tried(x.n).await });
    out = made -> on_error(skip) -> select(|x| row Made { n: x.n, made: Some(x.made) });
    out -> sink;
}
pipeline! {
    /// Null for those that fail.
    pub fn nulled(numbers: Source<N>);
    out = numbers -> map(slow.await) -> on_error(null) -> select(|x| row Made { n: x.n, made: x.slow });
    out -> sink;
}
pipeline! {
    /// A null is not called, and is no error; nor is a column beside.
    pub fn nulls_and_nulls(rows: Source<Made>);
    out = rows -> with(|x| row { n: x.n * 2, made: tried(x.made?).await }) -> on_error(null) -> select(|x| row Made { n: x.n, made: x.made });
    out -> sink;
}
pipeline! {
    /// A panic is no error of the row.
    pub fn falls(numbers: Source<N>);
    out = numbers -> map(clumsy.await) -> on_error(skip) -> select(|x| row Made { n: x.n, made: Some(x.clumsy) });
    out -> sink;
}

fn numbers(rows: i64) -> Vec<N> {
    (0..rows).map(|n| N { n }).collect()
}
/// What is wrong with a number.
fn wrong(n: i64, calls: &str) -> Option<String> {
    match n % 5 {
        2 => Some(format!("{n} is refused{calls}")),
        3 if n % 2 == 0 => Some(format!("timed out after 100ms{calls}")),
        _ => None,
    }
}
fn good(rows: &[N]) -> Vec<Made> {
    rows.iter().filter(|x| wrong(x.n, "").is_none()).map(|x| Made { n: x.n, made: Some(x.n + 1) }).collect()
}
fn account(ran: &Ran, name: &str) -> Account {
    ran.report.as_ref().unwrap().nodes.iter().find(|n| n.name.ends_with(name)).unwrap().account
}
/// rows in = used + filtered + late + failed + held
fn adds_up(a: Account) {
    assert_eq!(a.rows_in, a.used + a.filtered + a.late + a.failed, "{a:?}");
    assert_eq!(a.held, 0, "{a:?}");
}
fn trials() -> impl Iterator<Item = Trial> {
    let seeded = (0..12u64).map(|s| Trial::new().threads(1 + s as usize % 3).morsel_rows(1 + 13 * (s as usize % 3)).seed(s));
    seeded.chain([Trial::new().threads(1).morsel_rows(16), Trial::new().threads(3).morsel_rows(16)])
}

#[test]
fn dead_letters_hold_errors_and_timeouts() {
    let rows: Vec<N> = numbers(80);
    let seen: Vec<N> = rows.iter().filter(|x| x.n % 11 != 0).cloned().collect();
    let lost = |operator: &str, calls: &str| -> Vec<Lost> {
        let lost = |x: &N| {
            let error = wrong(x.n, calls)?.into();
            Some(Lost { n: x.n, error, operator: operator.into(), source: "numbers".into(), split: 0, row: x.n as u64 })
        };
        seen.iter().filter_map(lost).collect()
    };
    for trial in trials() {
        let ran = trial.clone().run(parted(rows.clone())).unwrap();
        assert_eq!(ran.rows::<Made>("out").unwrap(), good(&seen));
        assert_eq!(ran.rows::<Lost>("lost").unwrap(), lost("tried", " (call 3 of 3)"));
        let calls = account(&ran, "good/async");
        adds_up(calls);
        assert_eq!((calls.used, calls.failed), (good(&seen).len() as u64, lost("", "").len() as u64));
        assert_eq!(account(&ran, "good/dead_letter").rows_out, calls.failed);

        let ran = trial.run(parted_once(rows.clone())).unwrap();
        let mut found = (ran.rows::<Made>("out").unwrap(), ran.rows::<Lost>("lost").unwrap());
        found.0.sort_by_key(|m| m.n);
        found.1.sort_by_key(|m| m.n);
        assert_eq!(found, (good(&seen), lost("once", "")));
        adds_up(account(&ran, "good/async"));
    }
}

#[test]
fn errors_are_skipped() {
    for trial in trials() {
        let ran = trial.run(skipped(numbers(80))).unwrap();
        assert_eq!(ran.rows::<Made>("out").unwrap(), good(&numbers(80)));
        let calls = account(&ran, "made/async");
        adds_up(calls);
        assert_eq!(calls.failed, 80 - good(&numbers(80)).len() as u64);
    }
}

#[test]
fn errors_are_nulls() {
    let expected: Vec<Made> = (0..30).map(|n| Made { n, made: (n % 7 != 0).then_some(n + 1) }).collect();
    for threads in [1, 3] {
        let ran = Trial::new().threads(threads).run(nulled(numbers(30))).unwrap();
        assert_eq!(ran.rows::<Made>("out").unwrap(), expected);
        adds_up(account(&ran, "out/async"));
        assert_eq!(account(&ran, "out/async").failed, 0);
    }
    let rows: Vec<Made> = (0..40).map(|n| Made { n, made: (n % 3 != 0).then_some(n) }).collect();
    let value = |n: i64| (n % 3 != 0 && wrong(n, "").is_none()).then_some(n + 1);
    let expected: Vec<Made> = (0..40).map(|n| Made { n: n * 2, made: value(n) }).collect();
    for trial in trials() {
        assert_eq!(trial.run(nulls_and_nulls(rows.clone())).unwrap().rows::<Made>("out").unwrap(), expected);
    }
}

#[test]
fn panics_end_the_job_all_the_same() {
    let error = Trial::new().run(falls(numbers(40))).unwrap_err().to_string();
    assert!(error.contains("panicked: fell over 17") && error.contains("row 17"), "{error}");
}

/// Failed rows are part of a cut like others: each comes out once, on one side.
#[test]
fn a_stream_with_dead_letters_is_restored() {
    let row = |_: u32, row: u64| N { n: row as i64 };
    let mut restored = 0;
    for seed in 0..30u64 {
        let trial = |s: u64| Trial::new().threads(1 + s as usize % 3).morsel_rows(4).seed(s);
        let crash = 300 + seed * 13;
        let ran = trial(seed).snapshot_at(crash / 2).snapshot_at(crash * 2 / 3).crash_at(crash).run(parted(generate(1, row))).unwrap();
        restored += usize::from(ran.checkpoint.is_some());
        let ran = trial(seed + 7).from(ran.checkpoint).stop_at(400).run(parted(generate(1, row))).unwrap();
        let (out, lost): (Vec<Made>, Vec<Lost>) = (ran.rows("out").unwrap(), ran.rows("lost").unwrap());
        let mut all: Vec<i64> = out.iter().map(|m| m.n).chain(lost.iter().map(|l| l.n)).collect();
        all.sort_unstable();
        let expected: Vec<i64> = (0..).filter(|n| n % 11 != 0).take(all.len()).collect();
        assert_eq!(all, expected, "seed {seed}");
        assert!(lost.iter().all(|l| wrong(l.n, " (call 3 of 3)").as_deref() == Some(&*l.error)), "seed {seed}");
    }
    assert!(restored > 20, "{restored} of 30 had a complete checkpoint");
}

#[test]
fn plans_say_what_becomes_of_errors() {
    let plan = parted(Vec::<N>::new()).explain().unwrap();
    assert!(plan.contains("retried 2 times after 1ms; rows with errors are dead letters"), "{plan}");
    let plan = skipped(Vec::<N>::new()).explain().unwrap();
    assert!(plan.contains("; rows with errors are dropped"), "{plan}");
    // the columns that only dead letters carry stay
    let plan = nulled(Vec::<N>::new()).explain().unwrap();
    assert!(plan.contains("; errors are null"), "{plan}");
}
