//! The table of all operators with state: each runs to its end, and is killed and restored at another number of threads, with the same rows.
//! An operator of the engine that is not in the table fails the test.

use std::collections::BTreeSet;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use sabot::runtime::Checkpoint;
use sabot::testing::{Ran, Trial, splits};
use sabot_tests::restart;

use super::*;

/// An operator that keeps state, and a node that it is.
const TABLE: &[(&str, &str)] = &[
    ("PartialAggregate", "ending/sums/aggregate.partial"),
    ("FinalAggregate", "living/sums/aggregate"),
    ("FinalAggregate", "living/long/aggregate"),
    ("FinalAggregate", "ending/sums/aggregate"),
    ("UpdatingAggregate", "living/totals/aggregate"),
    ("UpdatingAggregate", "living/parity/aggregate"),
    ("NetTop", "living/podium/top"),
    ("Keyed", "living/numbered/keyed"),
    ("Machine", "living/told/keyed"),
    ("IntervalJoin", "living/near/interval_join"),
    ("AsOfJoin", "living/last/asof_join"),
    ("WindowJoin", "living/both/join"),
    ("UpdatingJoin", "changing/paired/left_join"),
    ("PartialSort", "ending/sorted/sort.partial"),
    ("MergeSort", "ending/sorted/sort"),
    ("KeySample", "spread/sorted/sort.sample"),
    ("RangeBounds", "spread/sorted/sort.bounds"),
    ("RangeDeal", "spread/sorted/sort.deal"),
    ("Limit", "ending/few/limit"),
    ("Sample", "ending/part/sample"),
    ("Join", "ending/part/full_join"),
    ("Over", "ending/share/over"),
    ("SetOperator", "ending/common/intersect"),
    ("Distinct", "ending/only/distinct"),
    ("PartialTop", "ending/best/top.partial"),
    ("Top", "ending/best/top"),
    ("Async", "ending/waited/async"),
    ("Grace", "spilling/pairs/left_join"),
    ("SinkOperator", "ending/waited/sink"),
];

/// The operators of a folder of sources that cut their state.
fn with_state(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() && entry.file_name().is_some_and(|n| n != "tests") {
            with_state(&entry, found);
        }
        if entry.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&entry).unwrap();
        for block in text.split("\nimpl").skip(1) {
            let block = block.split("\n}").next().unwrap_or_default();
            let Some((head, body)) = block.split_once('{') else { continue };
            let named = head.split_once("Operator for ").filter(|(before, _)| before.ends_with(' ') || before.is_empty());
            if let Some((_, name)) = named.filter(|_| body.contains("fn snapshot(")) {
                found.insert(name.chars().take_while(|c| c.is_alphanumeric()).collect());
            }
        }
    }
}

#[test]
fn every_operator_with_state_is_in_the_table() {
    let mut found = BTreeSet::new();
    with_state(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../sabot/src"), &mut found);
    let table: BTreeSet<String> = TABLE.iter().map(|(operator, _)| (*operator).to_owned()).collect();
    assert_eq!(found, table, "give a new operator a place in a pipeline of this test, and a line in `TABLE`");
}

/// The header and the rows of a sink.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default();
    let mut out = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
        out.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(",")));
    }
    let header = batches.first().map(|b| b.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>().join(","));
    folded(&header.unwrap_or_default(), out)
}

fn same(what: &str, found: &Ran, complete: &Ran) -> usize {
    let mut rows = 0;
    for (sink, batches) in complete.sinks() {
        let (found, complete) = (lines(found.batches(sink).unwrap()), lines(batches));
        assert!(!complete.is_empty(), "`{sink}` has rows");
        assert_eq!(found, complete, "{what}: sink `{sink}`");
        rows += complete.len();
    }
    rows
}

/// The nodes of which a checkpoint holds state.
fn held(checkpoint: &Checkpoint, nodes: &mut BTreeSet<String>) {
    // the state of a sink without rows is a byte
    nodes.extend(checkpoint.states.iter().filter(|s| s.state.bytes.len() > 1).map(|s| s.node.clone()));
}

fn all_held(pipeline: &str, nodes: &BTreeSet<String>) {
    let missing: Vec<_> = TABLE.iter().filter(|(_, node)| node.starts_with(pipeline) && !nodes.contains(*node)).collect();
    assert!(missing.is_empty(), "no checkpoint of this test held the state of {missing:?}; there are {nodes:?}");
}

fn ends(job: impl Fn() -> Job, pipeline: &str) {
    let mut nodes = BTreeSet::new();
    let complete = Trial::new().run(job()).unwrap();
    for seed in 0..18 {
        let again = restart(&job, seed);
        same(&again.what, &again.ran, &complete);
        again.checkpoint.iter().for_each(|c| held(c, &mut nodes));
    }
    all_held(pipeline, &nodes);
}

fn bounded(side: u64) -> Source<Event, Bounded> {
    splits(&rows(side, &BTreeMap::from([(0, 70 + side * 20), (1, 50)])), 9)
}

#[test]
fn over_rows_that_end() {
    ends(|| ending(bounded(0), bounded(1)), "ending/");
}

/// Cut at every 40th of the way, also between the ends of two instances of the source, which have few splits.
#[test]
fn sorted_in_several_processes() {
    let job = || spread(splits(&rows(0, &BTreeMap::from([(0, 70), (1, 50)])), 40));
    let complete = Trial::new().run(job()).unwrap();
    let mut nodes = BTreeSet::new();
    for seed in 0..40u64 {
        let trial = |threads, shares: u64, seed| Trial::new().threads(threads).morsel_rows(6).seed(seed).shares(shares as usize);
        let what = format!("seed {seed}");
        let steps = trial(2, 1 + seed % 3, seed).snapshot_at(u64::MAX).run(job()).unwrap().steps;
        let cut = trial(2, 1 + seed % 3, seed).snapshot_at(steps * seed / 40).crash_at(steps - 1).run(job());
        let cut = cut.unwrap_or_else(|e| panic!("{what}: {e}")).checkpoint;
        cut.iter().for_each(|c| held(c, &mut nodes));
        let again = trial(1 + seed as usize % 4, 1 + seed / 3 % 3, seed + 1000).from(cut.clone()).run(job());
        same(&what, &again.unwrap_or_else(|e| panic!("{what}: {e}")), &complete);
        // in one process, which is in ranges then, too
        let alone = Trial::new().threads(3).seed(seed).from(cut.clone()).run(job()).unwrap_or_else(|e| panic!("{what}: {e}"));
        same(&what, &alone, &complete);
        let ranged = alone.report.iter().flat_map(|r| &r.nodes).any(|n| n.name.ends_with("sort.deal"));
        assert_eq!(ranged, cut.is_some(), "{what}");
    }
    all_held("spread/", &nodes);
}

#[test]
fn with_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let spill = || spilling(bounded(0), bounded(1)).options(|o| (o.memory_budget, o.spill_dir) = (Some(1 << 20), Some(dir.path().into())));
    ends(spill, "spilling/");
}

/// Over rows that never end; how many results there were.
fn never_ends(pipeline: &str, of: impl Fn(Source<Event>, Source<Event>) -> Job) -> usize {
    let (mut nodes, mut found) = (BTreeSet::new(), 0);
    for seed in 0..18u64 {
        let random = mix(seed + 1);
        let (before, after) = (1 + random as usize % 4, [1, 2, 3, 8][(random >> 8) as usize % 4]);
        let partitions = 1 + (random >> 16) as u32 % 3;
        let stop = 2000 + (random >> 24) % 2000;
        let processes = [(random >> 36) as usize % 4, (random >> 40) as usize % 4]; // none: on threads
        let what = format!("seed {seed}, {partitions} partitions, {before} threads, then {after}, shares {processes:?}");
        let over = |trial: Trial, shares: usize| if shares == 0 { trial } else { trial.shares(shares) };
        let read = [Read::default(), Read::default()];
        let job = || of(endless(0, partitions, &read[0]), endless(1, partitions, &read[1]));
        let trial = Trial::new().threads(before).morsel_rows(6).seed(seed).snapshot_at(stop * (1 + seed % 4) / 6).crash_at(stop);
        let cut = over(trial, processes[0]).run(job()).unwrap_or_else(|e| panic!("{what}: {e}")).checkpoint;
        cut.iter().for_each(|c| held(c, &mut nodes));
        let names = ["events", "others"].map(|source| format!("{pipeline}{source}/source"));
        for (read, name) in read.iter().zip(names) {
            let at = cut.iter().flat_map(|c| &c.positions).filter(|p| p.node == name).flat_map(|p| &p.open);
            // what was read behind the cut will be read again
            *read.lock().unwrap() = at.map(|o| (o.partition, o.row)).collect();
        }
        let again = Trial::new().threads(after).morsel_rows(11).seed(seed + 1000).stop_at(stop).from(cut);
        let again = over(again, processes[1]).run(job()).unwrap_or_else(|e| panic!("{what}: {e}"));
        let [events, others] = read.map(|r| std::mem::take(&mut *r.lock().unwrap()));
        let complete = Trial::new().run(of(rows(0, &events).into(), rows(1, &others).into())).unwrap();
        found += same(&what, &again, &complete);
    }
    all_held(pipeline, &nodes);
    found
}

#[test]
fn over_rows_that_never_end() {
    let found = never_ends("living/", living);
    assert!(found > 5000, "{found} rows");
}

#[test]
fn joined_as_they_change() {
    let found = never_ends("changing/", changing);
    assert!(found > 100, "{found} rows");
}
