//! Source order through gates.

use super::*;
use crate::operator::Exchange;

#[test]
fn a_gather_restores_source_order() {
    let mut p = Plan::default();
    let s = p.source(Numbers::new(2000, 5, 37));
    let e = p.step("even", s, || Even);
    p.sink(e);
    let expected: Vec<Row> = (0..2000).filter(|v| v % 2 == 0).map(|v| (v % 5, v)).collect();
    for threads in [1, 2, 3, 8] {
        for morsel in [1, 7, 64, 1000] {
            assert_eq!(go(&p, &options(threads, morsel)).0.rows(), expected, "{threads} threads, morsels of {morsel}");
        }
    }
    for seed in seeds(100) {
        let tight = RunOptions { reorder_bytes: 1000, ..options(1 + seed as usize % 5, 10) };
        assert_eq!(simulate(&p, seed, &tight).rows(), expected, "seed {seed}");
    }
}

#[test]
fn order_survives_an_exchange_and_a_second_gate() {
    // Rebalance deals whole morsels, so source order can be restored exactly behind it.
    let mut p = Plan::default();
    let s = p.source(Numbers::new(1000, 5, 37));
    let a = p.node("a", &[(s, 0, Exchange::Rebalance, false)], false, false, || Map(|r| Ok(Some(r))));
    let b = p.node("b", &[(a, 0, Exchange::Rebalance, false)], false, false, || Map(|r| Ok(Some(r))));
    let c = p.node("c", &[(b, 0, Exchange::Gather, true)], true, false, || Map(|r| Ok(Some(r))));
    let d = p.node("d", &[(c, 0, Exchange::Rebalance, false)], false, false, || Map(|r| Ok(Some(r))));
    p.sink(d);
    let expected: Vec<Row> = (0..1000).map(|v| (v % 5, v)).collect();
    for seed in seeds(100) {
        let tight = RunOptions { reorder_bytes: 2000, channel_bytes: 500, ..options(1 + seed as usize % 5, 10) };
        assert_eq!(simulate(&p, seed, &tight).rows(), expected, "seed {seed}");
    }
}

#[test]
fn per_key_order_and_result_order_do_not_depend_on_timing() {
    // A counter behind an ordered hash exchange sees each key in source order.
    let mut p = Plan::default();
    let s = p.source(Numbers::new(1000, 7, 41));
    let last = p.node("last", &[(s, 0, by_key(), true)], false, true, || {
        let mut last = std::collections::HashMap::new();
        Map(move |(k, v)| {
            assert!(last.insert(k, v).is_none_or(|before| before < v));
            Ok(Some((k, v)))
        })
    });
    p.sink(last);
    let mut by_threads = std::collections::HashMap::new();
    for seed in seeds(100) {
        let threads = 1 + seed as usize % 5;
        let rows = simulate(&p, seed, &options(threads, 10)).rows();
        assert_eq!(rows, *by_threads.entry(threads).or_insert_with(|| rows.clone()), "seed {seed}");
    }
}

#[test]
fn a_union_is_ordered_by_source() {
    let mut p = Plan::default();
    let a = p.source(Numbers::new(300, 5, 37));
    let b = p.source(Numbers::new(200, 5, 10));
    let u = p.node("union", &[(a, 0, Exchange::Gather, true), (b, 0, Exchange::Gather, true)], true, false, || Map(|r| Ok(Some(r))));
    p.sink(u);
    let expected: Vec<Row> = (0..300).chain(0..200).map(|v| (v % 5, v)).collect();
    for seed in seeds(50) {
        let tight = RunOptions { reorder_bytes: 100, ..options(1 + seed as usize % 5, 10) };
        assert_eq!(simulate(&p, seed, &tight).rows(), expected, "seed {seed}");
    }
}

#[test]
fn partial_results_per_split_merge_in_split_order() {
    let mut p = Plan::default();
    let s = p.source(Numbers::new(1000, 3, 41));
    let partial = p.node("partial", &[(s, 0, Exchange::Forward, false)], false, true, SplitSum::default);
    // Order-sensitive on purpose: a running hash of what each key sees.
    let merge = p.node("merge", &[(partial, 0, by_key(), true)], false, true, || {
        let mut hashes = std::collections::HashMap::new();
        Map(move |(k, v)| {
            let h = hashes.entry(k).or_insert(0i64);
            *h = h.wrapping_mul(31).wrapping_add(v);
            Ok(Some((k, *h)))
        })
    });
    p.sink(merge);
    let expected = go(&p, &options(1, 1000)).0.sorted();
    assert_eq!(expected.len(), 25 * 3);
    for threads in [1, 2, 3, 8] {
        for morsel in [1, 7, 1000] {
            assert_eq!(go(&p, &options(threads, morsel)).0.sorted(), expected, "{threads} threads, morsels of {morsel}");
        }
    }
    for seed in seeds(60) {
        let tight = RunOptions { reorder_bytes: 200, ..options(1 + seed as usize % 5, 10) };
        assert_eq!(simulate(&p, seed, &tight).sorted(), expected, "seed {seed}");
    }
}
