//! Sorts over several processes: what comes out is what comes out of one, in the same order, and the same sums of floats behind it.

use std::path::Path;

use sabot::prelude::*;
use sabot::stream::Job;
use sabot::testing::{Ran, Trial, splits};

/// An offer.
#[derive(Record, Clone, Debug, PartialEq)]
struct Offer {
    n: i64,
    shop: i64,
    name: Str,
    price: Option<f64>,
    stars: Option<i64>,
}

/// Offers with many equal ones in any order of their columns.
fn offers(rows: i64) -> Vec<Offer> {
    let offer = |n: i64| Offer {
        n,
        shop: n * 7919 % 11,
        name: ["", "a name", "a name longer than twelve bytes"][(n * 31 % 7) as usize % 3].into(),
        price: (n % 9 != 0).then_some((n * 104_729 % 37) as f64 / 7.0),
        stars: (n % 4 != 0).then_some(n * 13 % 5),
    };
    (0..rows).map(offer).collect()
}

pipeline! {
    /// In several orders; behind a sort, a limit, another sort, and sums in the order of rows.
    pub fn ordered(offers: Source<Offer, Bounded>);
    cheap  = offers -> sort(price, desc(name)) -> select(|o| row { n: o.n, price: o.price, name: o.name });
    cheap  -> sink;
    best   = offers -> filter(|o| o.n % 5 != 0) -> sort(desc(stars)) -> select(|o| row { n: o.n });
    best   -> sink;
    few    = offers -> sort(name) -> limit(30) -> select(|o| row { n: o.n });
    few    -> sink;
    twice  = offers -> sort(shop) -> sort(desc(stars), name) -> select(|o| row { n: o.n });
    twice  -> sink;
    sums   = offers -> sort(desc(price)) -> key_by(shop) -> aggregate(|o| row { price: sum(o.price), mean: mean(o.price), rows: count() });
    sums   -> sink;
    counts = offers -> sort(price) -> key_by(shop) -> aggregate(|o| row { rows: count(), most: max(o.n) }) -> sort(rows);
    counts -> sink;
}

/// All rows of all sinks, in order. Floats are written so that other bits are other text.
pub(super) fn text(ran: &Ran) -> Vec<String> {
    let rows = |(name, batches): (&str, &[arrow_array::RecordBatch])| {
        let rows = batches.iter().flat_map(|b| {
            let json = |row| b.columns().iter().map(|c| format!("{:?}", c.slice(row, 1))).collect::<String>();
            (0..b.num_rows()).map(json).collect::<Vec<_>>()
        });
        rows.map(|row| format!("{name}: {row}")).collect::<Vec<_>>()
    };
    ran.sinks().flat_map(rows).collect()
}

/// What one process gives.
fn alone(job: &dyn Fn() -> Job) -> Vec<String> {
    let rows = text(&Trial::new().run(job()).unwrap());
    assert!(rows.len() > 500);
    rows
}

fn same(what: &str, found: &[String], expected: &[String]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    if let Some((found, expected)) = found.iter().zip(expected).find(|(a, b)| a != b) {
        panic!("{what}: {found}\nexpected {expected}");
    }
}

#[test]
fn as_in_one_process() {
    let offers = offers(300);
    let job = || ordered(splits(&offers, 23));
    let expected = alone(&job);
    let mut ranged = 0;
    for seed in 0..24u64 {
        let (shares, threads) = (1 + seed as usize % 3, [1, 2, 3, 8][seed as usize / 3 % 4]);
        let what = format!("seed {seed}, {shares} shares, {threads} instances");
        let ran = Trial::new().threads(threads).morsel_rows(3 + seed as usize).seed(seed).shares(shares).run(job());
        let ran = ran.unwrap_or_else(|e| panic!("{what}: {e}"));
        same(&what, &text(&ran), &expected);
        ranged += usize::from(ran.report.iter().flat_map(|r| &r.nodes).any(|n| n.name.ends_with("/sort.deal")));
    }
    assert_eq!(ranged, 24, "all sorts were in ranges");
}

#[test]
fn no_rows() {
    for shares in 1..4 {
        let ran = Trial::new().threads(3).seed(shares).shares(shares as usize).run(ordered(splits(&offers(0), 5))).unwrap();
        assert_eq!(text(&ran), text(&Trial::new().run(ordered(splits(&offers(0), 5))).unwrap()));
    }
}

/// With little memory: rows go to disk.
fn spilling(dir: &Path, job: Job) -> Job {
    job.options(|o| (o.memory_budget, o.spill_dir) = (Some(BUDGET), Some(dir.to_owned())))
}

/// Less than the rows of a sort take.
const BUDGET: usize = 400 << 10;

#[test]
fn with_less_memory_than_rows() {
    let offers = offers(6000);
    let dir = tempfile::tempdir().unwrap();
    let job = || in_order(splits(&offers, 400));
    let expected = alone(&job);
    let mut dealt = 0;
    for seed in 0..6u64 {
        let (shares, threads) = (1 + seed as usize % 3, 1 + seed as usize % 4);
        let what = format!("seed {seed}, {shares} shares, {threads} instances");
        let ran = Trial::new().threads(threads).morsel_rows(100).seed(seed).shares(shares).run(spilling(dir.path(), job()));
        let ran = ran.unwrap_or_else(|e| panic!("{what}: {e}"));
        same(&what, &text(&ran), &expected);
        let spilled =
            |end: &str| ran.report.iter().flat_map(|r| &r.nodes).filter(|n| n.name.ends_with(end)).map(|n| n.spilled).sum::<u64>();
        assert!(spilled("/sort") > 0, "{what}");
        dealt += usize::from(spilled("/sort.deal") > 0);
    }
    // not where each of several processes has room for what it read
    assert!(dealt >= 3, "rows that wait for their ranges went to disk in {dealt} of 6 runs");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

pipeline! {
    /// Sorted, and sums behind another sort.
    pub fn ranked(offers: Source<Offer, Bounded>);
    best = offers -> sort(desc(stars), name);
    best -> sink;
    sums = offers -> sort(desc(price)) -> key_by(shop) -> aggregate(|o| row { price: sum(o.price), mean: mean(o.price) });
    sums -> sink;
}
pipeline! {
    /// In one order.
    pub fn in_order(offers: Source<Offer, Bounded>);
    cheap = offers -> sort(price, desc(name));
    cheap -> sink;
}

#[test]
fn killed_and_continued_elsewhere() {
    let offers = offers(800);
    let job = || ranked(splits(&offers, 150));
    let expected = alone(&job);
    let (mut held, mut went_on) = (std::collections::BTreeSet::new(), 0);
    for seed in 0..24u64 {
        let dir = tempfile::tempdir().unwrap();
        // half of them with rows on disk
        let job = || if seed % 2 == 0 { job() } else { spilling(dir.path(), job()) };
        let mut checkpoint = None;
        for attempt in 0..4u64 {
            let (shares, threads) = (1 + (seed + attempt) as usize % 3, [1, 2, 3, 8][(seed / 2 + attempt * 3) as usize % 4]);
            let what = format!("seed {seed}, attempt {attempt}, {shares} shares, {threads} instances");
            let trial = Trial::new().threads(threads).morsel_rows(4).seed(seed * 10 + attempt).shares(shares);
            let steps = trial.clone().snapshot_at(u64::MAX).run(job()).unwrap().steps;
            // a job that has read all takes no more checkpoints
            let trial = match attempt {
                3 => trial,
                _ => trial.snapshot_at(steps / 10).snapshot_at(steps / 5).crash_at(steps * (3 + seed % 6) / 10),
            };
            let trial = trial.from(checkpoint.clone());
            let ran = trial.run(job()).unwrap_or_else(|e| panic!("{what}: {e}"));
            went_on += usize::from(checkpoint.is_some());
            checkpoint = ran.checkpoint.clone();
            held.extend(checkpoint.iter().flat_map(|c| &c.states).filter(|s| s.state.bytes.len() > 4).map(|s| s.node.clone()));
            if !ran.crashed() {
                same(&what, &text(&ran), &expected);
                break;
            }
        }
    }
    for part in ["deal", "sample"] {
        assert!(held.iter().any(|node| node.ends_with(&format!("/sort.{part}"))), "{part} is in no checkpoint: {held:?}");
    }
    assert!(went_on > 40, "{went_on} attempts began with a checkpoint");
}
