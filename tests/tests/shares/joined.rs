//! Joins over several processes: a right side that is cheaper to copy than both are to deal out goes to every instance, and stays so.

use std::collections::BTreeSet;

use sabot::prelude::*;
use sabot::stream::Job;
use sabot::testing::{Ran, Trial, splits};

/// A sale.
#[derive(Record, Clone, Debug, PartialEq)]
struct Sale {
    n: i64,
    item: Option<i64>,
    price: f64,
}

/// What is sold.
#[derive(Record, Clone, Debug, PartialEq)]
struct Item {
    item: Option<i64>,
    name: Str,
}

fn sales() -> Vec<Sale> {
    // sums of quarters are exact in any order
    (0..1400).map(|n| Sale { n, item: (n % 11 > 0).then_some(n * 7919 % 371), price: (n % 37) as f64 / 4.0 }).collect()
}
/// Some without a sale, some several times, some without a key.
fn items() -> Vec<Item> {
    (0..300).map(|n| Item { item: (n % 13 > 0).then_some(n * 31 % 237), name: format!("item {n}").into() }).collect()
}

pipeline! {
    /// All kinds of joins, and sums behind one.
    pub fn joined(sales: Source<Sale, Bounded>, items: Source<Item, Bounded>);
    inner = sales -> key_by(item) -> join(items -> key_by(item), |s, i| row { n: s.n, name: i.name });
    inner -> sink;
    left  = sales -> key_by(item) -> left_join(items -> key_by(item), |s, i| row { n: s.n, name: i?.name });
    left  -> sink;
    full  = sales -> key_by(item) -> full_join(items -> key_by(item), |s, i| row { n: s?.n, name: i?.name });
    full  -> sink;
    sold  = sales -> key_by(item) -> semi_join(items -> key_by(item)) -> select(|s| row { n: s.n });
    sold  -> sink;
    rest  = sales -> key_by(item) -> anti_join(items -> key_by(item)) -> select(|s| row { n: s.n });
    rest  -> sink;
    sums  = sales -> key_by(item) -> join(items -> key_by(item), |s, i| row { name: i.name, price: s.price })
                  -> key_by(name) -> aggregate(|p| row { price: sum(p.price), mean: mean(p.price) });
    sums  -> sink;
}

/// With so many instances, copies are more than half of the rows.
const MANY: usize = 3;

fn job() -> Job {
    joined(splits(&sales(), 280), splits(&items(), 15)).settings(|s| s.broadcast_rows = 5)
}

/// The rows of all sinks, in any order.
fn text(ran: &Ran) -> Vec<String> {
    let mut all = super::sorted::text(ran);
    all.sort();
    all
}

/// Joins whose right sides were copied.
fn copied(ran: &Ran) -> usize {
    ran.report.iter().flat_map(|r| &r.nodes).filter(|n| n.name.ends_with(".copies")).count()
}

#[test]
fn as_in_one_process() {
    let expected = text(&Trial::new().run(job()).unwrap());
    assert!(expected.len() > 1000);
    for seed in 0..24u64 {
        let (shares, threads) = (1 + seed as usize % 3, [1, 2, 3, 8][seed as usize / 3 % 4]);
        let what = format!("seed {seed}, {shares} shares, {threads} instances");
        let ran = Trial::new().threads(threads).morsel_rows(3 + seed as usize).seed(seed).shares(shares).run(job());
        let ran = ran.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(text(&ran) == expected, "{what}");
        // not where right rows without a partner come out; not if copies are more than half of the rows
        assert_eq!(copied(&ran), if threads < MANY { 5 } else { 0 }, "{what}");
    }
    let dealt = Trial::new().threads(2).shares(2).run(job().settings(|s| s.broadcast_bytes = 0)).unwrap();
    assert_eq!((copied(&dealt), text(&dealt) == expected), (0, true));
    let dir = tempfile::tempdir().unwrap();
    let may_spill = job().options(|o| (o.memory_budget, o.spill_dir) = (Some(1 << 30), Some(dir.path().to_owned())));
    let dealt = Trial::new().threads(2).shares(2).run(may_spill).unwrap();
    assert_eq!((copied(&dealt), text(&dealt) == expected), (0, true));
}

#[test]
fn a_job_goes_on_as_it_began_with_any_number_of_instances() {
    let expected = text(&Trial::new().run(job()).unwrap());
    let mut ways = BTreeSet::new();
    for seed in 0..24u64 {
        let (mut checkpoint, mut began) = (None, None);
        for attempt in 0..4u64 {
            let (shares, threads) = (1 + (seed + attempt) as usize % 3, [1, 8, 3, 2][(seed + attempt) as usize % 4]);
            let what = format!("seed {seed}, attempt {attempt}, {shares} shares, {threads} instances");
            let trial = Trial::new().threads(threads).morsel_rows(4).seed(seed * 10 + attempt).shares(shares).from(checkpoint.clone());
            let steps = trial.clone().snapshot_at(u64::MAX).run(job()).unwrap_or_else(|e| panic!("{what}: {e}")).steps;
            let trial = match attempt {
                3 => trial,
                _ => [90, 45, 25, 12].iter().fold(trial, |t, n| t.snapshot_at(steps / n)).crash_at(steps * (2 + seed % 7) / 10),
            };
            let ran = trial.run(job()).unwrap_or_else(|e| panic!("{what}: {e}"));
            checkpoint = ran.checkpoint.clone();
            if let Some(checkpoint) = &checkpoint {
                let copies = checkpoint.nodes.iter().filter(|n| n.ends_with(".copies")).count();
                assert_eq!(*began.get_or_insert(copies), copies, "{what}");
                ways.insert((copies, threads >= MANY));
            }
            if !ran.crashed() {
                assert!(text(&ran) == expected, "{what}");
                break;
            }
        }
    }
    assert_eq!(ways, [(0, false), (0, true), (5, false), (5, true)].into(), "each way with few instances and with many");
}
