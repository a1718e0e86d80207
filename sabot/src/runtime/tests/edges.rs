//! Edges that a pipeline places itself: who works on which rows, and in which order they are behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::kit::*;
use super::*;
use crate::Result;
use crate::kernel::{Morsel, Selection};
use crate::operator::{Account, Exchange, Operator, Output, Progress};

/// The keys that each instance of a step saw.
type Noted = Arc<Mutex<BTreeMap<usize, BTreeSet<i64>>>>;

/// Notes which keys it sees, and drops every third row.
struct Noting(usize, Noted);

impl Operator for Noting {
    fn process(&mut self, _port: usize, m: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let mut words = vec![0u64; m.batch.num_rows().div_ceil(64)];
        let kept = m.selection.clone().map_or_else(|| (0..m.batch.num_rows()).collect(), |s| s.rows().collect::<Vec<_>>());
        let all = rows(&m.batch);
        for row in &kept {
            self.1.lock().unwrap().entry(self.0).or_default().insert(all[*row].0);
            words[row / 64] |= u64::from(all[*row].1 % 3 > 0) << (row % 64);
        }
        let selection = Selection::new(words);
        let (used, filtered) = (selection.count() as u64, (kept.len() - selection.count()) as u64);
        out.account(Account { used, filtered, ..Account::default() });
        out.emit(Morsel { selection: Some(selection), ..m });
        Ok(Progress::Done)
    }
}

/// Passes rows on.
struct Pass;

impl Operator for Pass {
    fn process(&mut self, _port: usize, m: Morsel, out: &mut dyn Output) -> Result<Progress> {
        out.account(Account { used: m.rows() as u64, ..Account::default() });
        out.emit(m);
        Ok(Progress::Done)
    }
}

/// source -> edge -> sink, all of whose rows are in splits of so many; with what each instance behind the edge saw.
fn dealt(rows: i64, split: i64, exchange: Exchange) -> (Plan, Noted) {
    let (mut p, noted) = (Plan::default(), Noted::default());
    let s = p.source(Numbers::new(rows, 7, split));
    let (next, notes) = (AtomicUsize::new(0), Arc::clone(&noted));
    let a = p.node("a", &[(s, 0, exchange, false)], false, false, move || Noting(next.fetch_add(1, Ordering::Relaxed), Arc::clone(&notes)));
    p.sink(a);
    (p, noted)
}

fn expected(rows: i64) -> Vec<Row> {
    (0..rows).filter(|v| v % 3 > 0).map(|v| (v % 7, v)).collect()
}

#[test]
fn rows_of_a_number_are_at_one_instance_and_in_order_behind() {
    for seed in seeds(60) {
        let threads = 1 + seed as usize % 5;
        let (plan, noted) = dealt(1000, 370, Exchange::Custom("k".into()));
        let tight = RunOptions { reorder_bytes: 2000, channel_bytes: 500, ..options(threads, 10) };
        assert_eq!(simulate(&plan, seed, &tight).rows(), expected(1000), "seed {seed}");
        // instances are made in their order
        for (instance, keys) in noted.lock().unwrap().iter() {
            assert!(keys.iter().all(|k| *k as usize % threads == *instance), "seed {seed}: instance {instance} of {threads} saw {keys:?}");
        }
        assert_eq!(noted.lock().unwrap().len(), threads);
    }
}

#[test]
fn a_source_of_one_split_is_worked_on_by_all() {
    for seed in seeds(60) {
        let threads = 1 + seed as usize % 5;
        let (plan, noted) = dealt(1000, 1000, Exchange::Turns);
        let tight = RunOptions { reorder_bytes: 2000, channel_bytes: 500, ..options(threads, 10) };
        assert_eq!(simulate(&plan, seed, &tight).rows(), expected(1000), "seed {seed}");
        assert_eq!(noted.lock().unwrap().len(), threads, "seed {seed}");
    }
    let (plan, noted) = dealt(1000, 1000, Exchange::Forward);
    simulate(&plan, 1, &options(4, 10));
    assert_eq!(noted.lock().unwrap().len(), 1);
}

/// A step that answers later is a stage of its own; its rows stay where they are, and a single split streams through it.
#[test]
fn rows_stay_at_their_instance_before_a_step_that_answers_later() {
    let later = |exchange: Exchange, split: i64| {
        let (mut p, noted) = (Plan::default(), Noted::default());
        let s = p.source(Numbers::new(1000, 7, split));
        let dealt = p.node("dealt", &[(s, 0, exchange.clone(), false)], false, false, || Pass);
        let (next, notes) = (AtomicUsize::new(0), Arc::clone(&noted));
        let make = move || Noting(next.fetch_add(1, Ordering::Relaxed), Arc::clone(&notes));
        let a = p.node("later", &[(dealt, 0, Exchange::Forward, false)], false, true, make);
        (p.0.nodes[a].later, p.0.nodes[a].in_flight) = (true, Some(exchange));
        p.sink(a);
        (p, noted)
    };
    for seed in seeds(60) {
        let threads = 1 + seed as usize % 5;
        let tight = RunOptions { reorder_bytes: 2000, channel_bytes: 500, ..options(threads, 10) };
        let (plan, noted) = later(Exchange::Custom("k".into()), 370);
        assert_eq!(simulate(&plan, seed, &tight).rows(), expected(1000), "seed {seed}");
        for (instance, keys) in noted.lock().unwrap().iter() {
            assert!(keys.iter().all(|k| *k as usize % threads == *instance), "seed {seed}: instance {instance} of {threads} saw {keys:?}");
        }
        let (plan, _) = later(Exchange::Forward, 130);
        assert_eq!(simulate(&plan, seed, &tight).rows(), expected(1000), "seed {seed}");
    }
    let graph = |exchange| crate::runtime::graph::Graph::new(&later(exchange, 100).0.0, 3, |_, _| false).unwrap();
    let of = |exchange: Exchange| {
        let plan = later(exchange.clone(), 100).0;
        graph(exchange).read_by(&plan.0, 2)
    };
    assert_eq!((of(Exchange::Forward), of(by_key())), (Some(0), None));
    assert_eq!(graph(Exchange::Forward).stages.iter().map(|s| s.nodes.clone()).collect::<Vec<_>>(), [vec![0, 1], vec![2], vec![3]]);
}

#[test]
fn an_edge_at_one_instance_is_none() {
    let (plan, _) = dealt(100, 50, Exchange::Custom("k".into()));
    let graph = crate::runtime::graph::Graph::new(&plan.0, 1, |_, _| false).unwrap();
    assert_eq!(graph.stages.len(), 1);
    assert_eq!(crate::runtime::graph::Graph::new(&plan.0, 2, |_, _| false).unwrap().stages.len(), 3);
}
