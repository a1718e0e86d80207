//! Source order through gates.

use std::collections::BTreeMap;

use super::*;
use crate::Result;
use crate::kernel::hash::{KEY_GROUPS, hash_integer, key_group};
use crate::kernel::{Morsel, Origin};
use crate::operator::{Account, Exchange, Mark, Operator, Output, Progress};

/// Keeps all rows, and sends them at the end by key group, a few at a time. If `told`, it says that they ascend.
#[derive(Default)]
struct Keep {
    told: bool,
    groups: BTreeMap<u16, Vec<Row>>,
    sent: u64,
}

impl Operator for Keep {
    fn process(&mut self, _port: usize, m: Morsel, out: &mut dyn Output) -> Result<Progress> {
        for (k, v) in of(&m) {
            self.groups.entry(key_group(hash_integer(k), KEY_GROUPS)).or_default().push((k, v));
        }
        out.account(Account { held: m.rows() as i64, ..Account::default() });
        Ok(Progress::Done)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        let Some((group, mut rows)) = self.groups.pop_first() else { return Ok(Progress::Done) };
        let rest = rows.split_off(rows.len().min(20));
        let origin = Origin { split: group.into(), row: self.sent, ..Origin::default() };
        out.account(Account { held: -(rows.len() as i64), used: rows.len() as u64, ..Account::default() });
        out.emit(Morsel::new(batch(&rows), origin));
        self.sent += rows.len() as u64;
        if rest.is_empty() {
            self.sent = 0;
        } else {
            self.groups.insert(group, rest);
        }
        Ok(Progress::More)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        if let (true, Some((group, _))) = (self.told, self.groups.first_key_value()) {
            out.pass(Mark::Ascending(Origin { split: u64::from(*group), ..Origin::default() }));
        }
        self.resume(out)
    }
}

/// Checks that rows come before the end of time.
#[derive(Default)]
struct InTime(bool);

impl Operator for InTime {
    fn process(&mut self, _port: usize, m: Morsel, out: &mut dyn Output) -> Result<Progress> {
        assert!(!self.0, "rows behind the end of time");
        out.emit(m);
        Ok(Progress::Done)
    }
    fn watermark(&mut self, _port: usize, time: i64, _out: &mut dyn Output) -> Result<()> {
        self.0 |= time == crate::operator::END_OF_TIME;
        Ok(())
    }
}

/// source -> by key: keep -> pass
fn keeping(rows: i64, told: bool) -> (Plan, usize) {
    let mut p = Plan::default();
    let s = p.source(Numbers::new(rows, 997, 37));
    let k = p.node("keep", &[(s, 0, by_key(), true)], false, true, move || Keep { told, ..Keep::default() });
    let m = p.step("pass", k, || Map(|r| Ok(Some(r))));
    (p, m)
}

/// The same -> in order: in time -> sink; `union` with rows of a second source.
fn kept(rows: i64, told: bool, union: bool) -> Plan {
    let (mut p, m) = keeping(rows, told);
    let mut inputs = vec![(m, 0, Exchange::Gather, true)];
    if union {
        inputs.push((p.source(Numbers::new(rows, 5, 20)), 0, Exchange::Gather, true));
    }
    let t = p.node("in time", &inputs, true, true, InTime::default);
    p.sink(t);
    p
}

#[test]
fn rows_that_ascend_come_in_the_same_order() {
    for union in [false, true] {
        let expected = go(&kept(3000, false, union), &options(1, 1000)).0.rows();
        assert_eq!(expected.len(), if union { 6000 } else { 3000 });
        for threads in [1, 2, 3, 8] {
            assert_eq!(go(&kept(3000, true, union), &options(threads, 100)).0.rows(), expected, "{threads} threads, {union}");
        }
        for seed in seeds(60) {
            let tight = RunOptions { reorder_bytes: 1000, channel_bytes: 500, ..options(1 + seed as usize % 5, 10) };
            assert_eq!(simulate(&kept(3000, true, union), seed, &tight).rows(), expected, "seed {seed}, {union}");
        }
    }
}

#[test]
fn rows_that_ascend_do_not_wait_for_the_last() {
    for threads in [1, 3] {
        let tight = RunOptions { reorder_bytes: 4000, checkpoints: false, ..options(threads, 100) };
        let peak = |told| {
            let (mut p, m) = keeping(20_000, told);
            p.sink(m);
            let report = go(&p, &tight).1;
            (report.peak_channel_bytes, report.events.len())
        };
        let (waiting, passing) = (peak(false), peak(true));
        assert!(waiting.0 > 20_000 * 16 / threads / 2 && waiting.1 > 0, "{waiting:?}");
        // the limit and what one call emits
        assert!(passing.0 < 4000 + 100 * 16 && passing.1 == 0, "{threads} threads: {passing:?}");
    }
}

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
