//! Joins that are sent as they change against a naive join of multisets: after each morsel the changes add up to the join of the rows so far, and no row
//! is ever taken back before it came; through restarts, key groups that move, and sides that end.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::{Out, Rng, encode, show};
use crate::kernel::{Morsel, Origin, Selection};
use crate::operator::*;
use crate::plan::{JoinKind, Matching};

/// Key and value of a row, and how often it counts.
type Rows = BTreeMap<(Option<u64>, i64), i64>;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, true), Field::new("v", DataType::Int64, false)]))
}

fn text(key: u64) -> String {
    if key.is_multiple_of(2) { format!("a rather long key {key}") } else { format!("k{key}") }
}

fn batch(port: usize, rows: &[(Option<u64>, i64, i8)], changes: bool) -> RecordBatch {
    let keys: StringArray = rows.iter().map(|(k, _, _)| k.map(text)).collect();
    let values: Int64Array = rows.iter().map(|(_, v, _)| Some(*v)).collect();
    let batch = RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(values)]).unwrap();
    let dict = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let batch = encode(&batch, if port == 0 { &DataType::Utf8 } else { &dict });
    if changes { with_weights(&batch, rows.iter().map(|(_, _, w)| *w).collect()).unwrap() } else { batch }
}

fn spec(kind: JoinKind) -> Arc<JoinSpec> {
    let names = |n: &[&str]| n.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    Arc::new(JoinSpec {
        name: "p/j".into(),
        kind,
        matching: Matching::Equal,
        left_on: names(&["k"]),
        right_on: names(&["k"]),
        left: names(&["v", "k"]),
        right: if kind.pairs() { names(&["v"]) } else { Vec::new() },
        times: None,
        node: 9,
        by_group: false,
        mirrored: false,
    })
}

/// What is left of the output so far; it is never less than nothing.
fn fold(sums: &mut BTreeMap<String, i64>, morsels: &[Morsel]) {
    for m in morsels {
        let dense = m.compact().unwrap();
        let (rows, given) = (without_weights(&dense).unwrap(), weights(&dense));
        for row in 0..rows.num_rows() {
            let line = rows.columns().iter().map(|c| show(c, row)).collect::<Vec<_>>().join("|");
            let sum = sums.entry(line.clone()).or_default();
            *sum += given.map_or(1, |w| i64::from(w[row]));
            assert!(*sum >= 0, "{line} was taken back before it came");
        }
    }
    sums.retain(|_, sum| *sum != 0);
}

fn model(kind: JoinKind, left: &Rows, right: &Rows) -> BTreeMap<String, i64> {
    let mut out: BTreeMap<String, i64> = BTreeMap::new();
    let key = |k: Option<u64>| k.map_or("null".into(), text);
    let meets = |k: Option<u64>, other: &Rows| k.is_some() && other.keys().any(|(o, _)| *o == k);
    let flag = |on: bool, text: &str| if on { text.to_owned() } else { String::new() };
    if !kind.pairs() {
        let stays = left.iter().filter(|((k, _), _)| meets(*k, right) == (kind == JoinKind::Semi));
        return stays.map(|((k, v), n)| (format!("{}|{v}", key(*k)), *n)).collect();
    }
    for ((k, v), n) in left {
        for ((_, w), m) in right.iter().filter(|((o, _), _)| k.is_some() && o == k) {
            let line = format!("{v}|{}{}|{w}{}", key(*k), flag(kind.keeps_right(), "|true"), flag(kind.keeps_left(), "|true"));
            *out.entry(line).or_default() += n * m;
        }
        if kind.keeps_left() && !meets(*k, right) {
            out.insert(format!("{v}|{}{}|null|false", key(*k), flag(kind.keeps_right(), "|true")), *n);
        }
    }
    for ((_, w), n) in right.iter().filter(|((k, _), _)| kind.keeps_right() && !meets(*k, left)) {
        *out.entry(format!("null|null|false|{w}{}", flag(kind.keeps_left(), "|true"))).or_default() += n;
    }
    out
}

/// Instances of a join, each with the key groups that it owns.
struct Instances(Vec<(Box<dyn Operator>, Box<dyn Fn(u16) -> bool>)>);

impl Instances {
    fn feed(&mut self, port: usize, batch: &RecordBatch, out: &mut Out) {
        // one row of each morsel is dropped by a selection
        let columns = batch.columns().iter().map(|c| arrow_select::concat::concat(&[c, &c.slice(0, 1)]).unwrap()).collect();
        let longer = RecordBatch::try_new(batch.schema(), columns).unwrap();
        let groups = keys::key_groups(&[Arc::clone(longer.column(0))], longer.num_rows()).unwrap();
        for (op, owns) in &mut self.0 {
            let mut words = vec![0u64; longer.num_rows().div_ceil(64)];
            (0..batch.num_rows()).filter(|row| owns(groups[*row])).for_each(|row| words[row / 64] |= 1 << (row % 64));
            let selection = Selection::new(words);
            if selection.count() > 0 {
                out.feed(op.as_mut(), port, Morsel { batch: longer.clone(), selection: Some(selection), origin: Origin::default() });
            }
        }
    }
}

/// Rows that come and, of a side with changes, rows that go.
fn some(rng: &mut Rng, rows: &mut Rows, changes: bool, most: u64, keys: u64, values: u64) -> Vec<(Option<u64>, i64, i8)> {
    let mut out = Vec::new();
    for _ in 0..1 + rng.below(most) {
        let known: Vec<(Option<u64>, i64)> = rows.keys().copied().collect();
        if changes && !known.is_empty() && rng.below(5) < 2 {
            let (k, v) = known[rng.below(known.len() as u64) as usize];
            let count = rows.get_mut(&(k, v)).unwrap();
            *count -= 1;
            if *count == 0 {
                rows.remove(&(k, v));
            }
            out.push((k, v, -1));
        } else {
            let row = ((rng.below(8) > 0).then(|| rng.below(keys)), rng.below(values) as i64);
            *rows.entry(row).or_default() += 1;
            out.push((row.0, row.1, 1));
        }
    }
    out
}

fn check(kind: JoinKind, changes: [bool; 2], seed: u64, (steps, most, keys, values): (usize, u64, u64, u64)) -> usize {
    let mut rng = Rng(seed * 7919 + 1);
    let spec = spec(kind);
    let sent = changes != [false; 2] || !matches!(kind, JoinKind::Inner | JoinKind::Semi);
    let schemas = [0, 1].map(|port| batch(port, &[(Some(0), 0, 1)], changes[port]).schema());
    let new = |index: usize, of: usize| {
        let factory = UpdatingJoin::factory(Arc::clone(&spec), None, &schemas[0], &schemas[1], sent).unwrap();
        factory.create(Instance { index, of }).unwrap()
    };
    let mut run = Instances(vec![(new(0, 1), Box::new(|_| true))]);
    let (mut rows, mut sums, mut seen) = ([Rows::new(), Rows::new()], BTreeMap::new(), 0);
    let mut out = Out { tight: seed % 2 == 1, ..Out::default() };
    let ends = (rng.below(3) as usize, steps / 2);
    for step in 0..steps {
        let mut port = rng.below(2) as usize;
        if step >= ends.1 && port == ends.0 {
            port = 1 - port;
        }
        if step == ends.1 && ends.0 < 2 {
            run.0.iter_mut().for_each(|(op, _)| out.finish(op.as_mut(), ends.0));
        }
        let morsel = some(&mut rng, &mut rows[port], changes[port], most, keys, values);
        run.feed(port, &batch(port, &morsel, changes[port]), &mut out);
        fold(&mut sums, &out.morsels);
        seen += out.morsels.drain(..).map(|m| m.rows()).sum::<usize>();
        assert_eq!(sums, model(kind, &rows[0], &rows[1]), "{kind:?} {changes:?} seed {seed} step {step}");
        if rng.below(steps as u64 / 3) == 0 {
            // a restart; every other time key groups go to another number of instances
            let states: Vec<GroupState> = run.0.iter_mut().flat_map(|(op, _)| op.snapshot(1).unwrap().write().unwrap()).collect();
            let parts = 1 + rng.below(3) as usize;
            run.0 = (0..parts)
                .map(|p| (new(p, parts), Box::new(move |g: u16| usize::from(g) % parts == p) as Box<dyn Fn(u16) -> bool>))
                .collect();
            for (op, owns) in &mut run.0 {
                states.iter().filter(|s| rng.below(2) == 0 || owns(s.group)).for_each(|s| op.restore(s).unwrap());
                (0..128).filter(|g| !owns(*g)).for_each(|g| op.release(g));
                if step >= ends.1 && ends.0 < 2 {
                    out.finish(op.as_mut(), ends.0);
                }
            }
        }
    }
    for port in [0, 1] {
        run.0.iter_mut().for_each(|(op, _)| out.finish(op.as_mut(), port));
    }
    assert!(out.morsels.is_empty() && run.0.iter().all(|(op, _)| op.held_bytes() < 100_000));
    assert!(out.account.balanced() && out.account.held == 0, "{:?}", out.account);
    seen
}

const KINDS: [JoinKind; 6] = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];

#[test]
fn changes_add_up_at_each_moment() {
    for kind in KINDS {
        let mut seen = 0;
        for changes in [[true, true], [true, false], [false, true], [false, false]] {
            for seed in 0..4 {
                seen += check(kind, changes, seed, (36, 12, 6, 5));
            }
        }
        assert!(seen > 400, "{kind:?}: {seen} changes");
    }
}

/// More pairs of one morsel than go into a batch.
#[test]
fn many_pairs_of_one_key() {
    for kind in KINDS {
        check(kind, [true, true], 3, (6, 400, 1, 200));
        check(kind, [false, true], 4, (5, 300, 2, 1000));
    }
}

/// Rows that come and go leave nothing behind.
#[test]
fn what_is_gone_is_forgotten() {
    for kind in KINDS {
        let [left, right] = [0, 1].map(|port| batch(port, &[(Some(0), 0, 1)], true).schema());
        let factory = UpdatingJoin::factory(spec(kind), None, &left, &right, true).unwrap();
        let mut join = factory.create(Instance { index: 0, of: 1 }).unwrap();
        let mut held = Vec::new();
        for round in 0..300u64 {
            let mut out = Out::default();
            for weight in [1, -1] {
                for port in [0, 1] {
                    let rows: Vec<_> = (0..200u64).map(|n| (Some(round * 200 + n), round as i64, weight)).collect();
                    out.feed(join.as_mut(), port, Morsel::new(batch(port, &rows, true), Origin::default()));
                }
            }
            held.push(join.held_bytes());
        }
        let most = held[..20].iter().max().unwrap();
        assert!(held[20..].iter().all(|h| h <= &(most * 2)), "{kind:?}: {held:?}");
        assert!(join.snapshot(1).unwrap().write().unwrap().is_empty());
    }
}
