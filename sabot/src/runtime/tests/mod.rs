//! The runtime with toy operators: at several thread counts and morsel sizes, and under many simulated interleavings.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

mod checkpoints;
mod discover;
mod edges;
mod endings;
mod kept;
mod kit;
mod measure;
#[cfg(feature = "object-store")]
mod objects;
mod order;
mod proof;
mod retries;
mod saved;
mod shares;
mod streams;

use std::sync::Arc;

use super::*;
use kit::*;

/// Seeds 0 to `n`; `SABOT_SEEDS` multiplies them for a long search.
fn seeds(n: u64) -> std::ops::Range<u64> {
    0..n * std::env::var("SABOT_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// Options for `threads` instances, small morsels, no bypass.
fn options(threads: usize, morsel_rows: usize) -> RunOptions {
    RunOptions { threads, morsel_rows, bypass_rows: 0, checkpoints: true, ..RunOptions::default() }
}

/// A plan with one sink, the last node.
fn go(plan: &Plan, options: &RunOptions) -> (Seen, Report) {
    let seen = Seen::default();
    let report = run(&plan.0, bind(plan.0.nodes.len() - 1, &seen), options, &Control::new()).unwrap();
    assert_eq!(seen.ends(), ["commit"]);
    (seen, report)
}

/// The same on a simulated executor.
fn simulate(plan: &Plan, seed: u64, options: &RunOptions) -> Seen {
    let seen = Seen::default();
    let result = run_on(Arc::new(Simulated::new(seed)), &plan.0, bind(plan.0.nodes.len() - 1, &seen), options, &Control::new(), None);
    result.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    seen
}

/// source -> even -> by key: counter -> by key: sum -> sink
fn counted(rows: i64) -> Plan {
    let mut p = Plan::default();
    let s = p.source(Numbers::new(rows, 17, 150));
    let e = p.step("even", s, || Even);
    let c = p.node("counter", &[(e, 0, by_key(), false)], false, true, Counter::default);
    let t = p.node("sum", &[(c, 0, by_key(), false)], false, true, Sum::default);
    p.sink(t);
    p
}

/// source -> map -> sink, source -> by key: build of a join whose probe is the same source; ordered sink.
fn diamond(rows: i64) -> Plan {
    let mut p = Plan::default();
    let s = p.source(Numbers::new(rows, 17, 100));
    let a = p.step("build side", s, || Even);
    let b = p.step("probe side", s, || Map(|r| Ok(Some(r))));
    let j = p.node("join", &[(a, 0, by_key(), false), (b, 1, by_key(), false)], false, true, Join::default);
    p.sink(j);
    p
}

#[test]
fn results_are_equal_at_any_size() {
    let expected = go(&counted(3000), &options(1, 1000)).0.rows();
    assert_eq!(expected.len(), 17);
    for threads in [1, 2, 3, 8] {
        for morsel in [1, 7, 64, 1000] {
            let (seen, report) = go(&counted(3000), &options(threads, morsel));
            assert_eq!(seen.rows(), expected, "{threads} threads, morsels of {morsel}");
            assert!(report.nodes.iter().all(|n| n.account.balanced()));
            let rows = |name: &str| report.nodes.iter().find(|n| n.name == name).unwrap().account;
            assert_eq!((rows("source0").rows_out, rows("even").filtered, rows("sum").used, rows("sum").held), (3000, 1500, 1500, 0));
            assert!(report.workers.iter().map(|w| w.turns).sum::<u64>() > 0);
        }
    }
}

#[test]
fn results_are_equal_in_any_interleaving() {
    let expected = go(&counted(600), &options(1, 1000)).0.rows();
    for seed in seeds(120) {
        assert_eq!(simulate(&counted(600), seed, &options(1 + seed as usize % 4, 50)).rows(), expected, "seed {seed}");
    }
}

#[test]
fn small_jobs_run_on_the_calling_thread() {
    let (seen, report) = go(&counted(3000), &RunOptions::default());
    assert!(report.bypassed && report.workers.len() == 1);
    assert_eq!(seen.rows(), go(&counted(3000), &options(3, 64)).0.rows());
}

#[test]
fn a_diamond_over_a_closed_port_does_not_deadlock() {
    let expected = go(&diamond(2000), &options(1, 1000)).0.sorted();
    for threads in [1, 2, 3, 8] {
        for morsel in [7, 64, 1000] {
            let tight = RunOptions { channel_bytes: 1, reorder_bytes: 1, ..options(threads, morsel) };
            assert_eq!(go(&diamond(2000), &tight).0.sorted(), expected, "{threads} threads, morsels of {morsel}");
        }
    }
    for seed in seeds(60) {
        let tight = RunOptions { channel_bytes: 500, reorder_bytes: 500, ..options(3, 64) };
        assert_eq!(simulate(&diamond(2000), seed, &tight).sorted(), expected, "seed {seed}");
    }
}

#[test]
fn works_inside_rayon() {
    let expected = go(&counted(3000), &options(1, 1000)).0.rows();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(pool.install(|| go(&counted(3000), &options(0, 64)).0.rows()), expected);
    assert_eq!(pool.install(|| go(&counted(3000), &options(2, 64)).0.rows()), expected);
}
