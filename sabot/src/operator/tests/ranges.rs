//! The sort over several processes, node by node, against a stable sort of all rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::*;
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, Field, Schema, SchemaRef, SortOptions};

use super::{Out, Rng, cut, lines, memory};
use crate::kernel::hash::{KEY_GROUPS, instance_of};
use crate::kernel::{Morsel, Origin};
use crate::operator::*;
use crate::shuffle::Partitioner;

/// Rows of the result that have the same split.
const UNIT: usize = 1 << 17;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("whole", DataType::Int64, true),
        Field::new("float", DataType::Float64, true),
        Field::new("text", DataType::Utf8View, true),
        Field::new("price", DataType::Decimal128(20, 2), true),
    ]))
}

/// Rows with nulls, of so many values.
fn rows(rng: &mut Rng, n: usize, values: u64, nulls: u64) -> RecordBatch {
    let mut some = |times: u64| (rng.below(100) >= nulls).then(|| rng.below(values) * times);
    let whole: Int64Array = (0..n).map(|_| some(3).map(|v| v as i64 - 1000)).collect();
    let float: Float64Array = (0..n).map(|_| some(1).map(|v| v as f64 / 7.0 - 3.0)).collect();
    let text: StringViewArray = (0..n).map(|_| some(1).map(|v| format!("a beginning that all share {}", v * 7919 % 1009))).collect();
    let price: Decimal128Array = (0..n).map(|_| some(99).map(|v| i128::from(v) - 5000)).collect();
    let price = price.with_precision_and_scale(20, 2).unwrap();
    let id = Int64Array::from((0..n as i64).collect::<Vec<_>>());
    RecordBatch::try_new(schema(), vec![Arc::new(id), Arc::new(whole), Arc::new(float), Arc::new(text), Arc::new(price)]).unwrap()
}

fn by(column: &str, ascending: bool, nulls_first: bool) -> SortKey {
    SortKey { column: column.into(), ascending, nulls_first }
}

/// The rows in order, stably.
fn model(batch: &RecordBatch, order: &[SortKey]) -> RecordBatch {
    let field = |k: &SortKey| {
        let t = batch.schema().field_with_name(&k.column).unwrap().data_type().clone();
        SortField::new_with_options(t, SortOptions { descending: !k.ascending, nulls_first: k.nulls_first })
    };
    let columns: Vec<ArrayRef> = order.iter().map(|k| Arc::clone(batch.column_by_name(&k.column).unwrap())).collect();
    let forms = RowConverter::new(order.iter().map(field).collect()).unwrap().convert_columns(&columns).unwrap();
    let mut at: Vec<u32> = (0..batch.num_rows() as u32).collect();
    at.sort_by(|a, b| forms.row(*a as usize).cmp(&forms.row(*b as usize)));
    arrow_select::take::take_record_batch(batch, &UInt32Array::from(at)).unwrap()
}

/// How a sort is run.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// Instances that make rows, and that have ranges.
    from: usize,
    to: usize,
    /// Of a job that went on when half of all rows had come: how many there were before.
    before: Option<usize>,
    split: usize,
    morsel: usize,
    /// Rows go to disk.
    spills: bool,
}

/// Several instances of an operator, with what each sends.
struct Instances(Vec<(Box<dyn Operator>, Out)>, Way);

impl Instances {
    fn new(factory: &Arc<dyn OperatorFactory>, of: usize, way: Way) -> Self {
        let one = |index| {
            let mut op = factory.create(Instance { index, of }).unwrap();
            if way.spills {
                op.memory(memory(100_000));
            }
            (op, Out::default())
        };
        Instances((0..of).map(one).collect(), way)
    }
    fn feed(&mut self, instance: usize, port: usize, morsel: Morsel) {
        let (op, out) = &mut self.0[instance];
        out.feed(op.as_mut(), port, morsel);
        if self.1.spills && op.spillable_bytes() > 6000 {
            op.spill().unwrap();
            assert_eq!(op.spillable_bytes(), 0);
        }
    }
    fn finish(&mut self, port: usize) {
        self.0.iter_mut().for_each(|(op, out)| out.finish(op.as_mut(), port));
    }
    /// So many others, which go on with the state of these, and are told what these counted.
    fn restarted(mut self, factory: &Arc<dyn OperatorFactory>, of: usize) -> Self {
        let mut next = Instances::new(factory, of, self.1);
        let states: Vec<GroupState> = self.0.iter_mut().flat_map(|(op, _)| op.snapshot(1).unwrap().write().unwrap()).collect();
        for state in states.iter().filter(|s| s.group == SHARED) {
            next.0.iter_mut().for_each(|(op, _)| op.restore(state).unwrap());
        }
        for state in states.iter().filter(|s| s.group != SHARED) {
            next.0[instance_of(state.group, KEY_GROUPS, of)].0.restore(state).unwrap();
        }
        for (_, out) in self.0 {
            next.0[0].1.account.add(&out.account);
            next.0[0].1.morsels.extend(out.morsels);
        }
        next
    }
    /// What all have sent, once nothing is held any more.
    fn sent(&self) -> Vec<Morsel> {
        let mut account = Account::default();
        self.0.iter().for_each(|(_, out)| account.add(&out.account));
        assert!(account.balanced() && account.held == 0, "{account:?}");
        assert!(self.0.iter().all(|(op, _)| op.held_bytes() < 10_000), "nothing is held at the end");
        self.0.iter().flat_map(|(_, out)| out.morsels.iter().cloned()).collect()
    }
}

/// Sorts; the rows that each instance had, and the result.
fn sort(batch: &RecordBatch, order: &[SortKey], way: Way) -> (Vec<usize>, RecordBatch) {
    let (spec, schema) = (Arc::new(SortSpec { name: "p/s/sort".into(), by: order.to_vec() }), batch.schema());
    let sources = Arc::new(BTreeSet::from([0]));
    let (sample, _) = KeySample::factory(Arc::clone(&spec), &schema, Arc::clone(&sources)).unwrap();
    let (deal, dealt) = RangeDeal::factory(Arc::clone(&spec), &schema, sources).unwrap();
    let first = way.before.unwrap_or(way.from);
    let (mut samples, mut deals) = (Instances::new(&sample, first, way), Instances::new(&deal, first, way));
    // all splits are read side by side, so that each is read in part when the job goes on elsewhere
    let mut splits: Vec<Vec<Morsel>> = (0..batch.num_rows())
        .step_by(way.split)
        .enumerate()
        .map(|(n, start)| cut(&batch.slice(start, way.split.min(batch.num_rows() - start)), n as u64, way.morsel, None))
        .collect();
    let turns = splits.iter().map(Vec::len).max().unwrap_or(0);
    let mut instances = first;
    for turn in 0..turns {
        if turn == turns / 2 && way.before.is_some() {
            (samples, deals) = (samples.restarted(&sample, way.from), deals.restarted(&deal, way.from));
            instances = way.from;
        }
        for (number, split) in splits.iter_mut().enumerate().filter(|(_, s)| !s.is_empty()) {
            let morsel = split.remove(0);
            // another instance than before reads on
            let instance = (number + usize::from(turn >= turns / 2)) % instances;
            let instance = if way.before.is_some() { instance } else { number % instances };
            samples.feed(instance, 0, morsel.clone());
            deals.feed(instance, 0, morsel);
        }
    }
    samples.finish(0);
    deals.finish(0);
    let mut bounds = Instances::new(&RangeBounds::factory().0, 1, way);
    for (n, morsel) in samples.sent().into_iter().enumerate() {
        bounds.feed(0, 0, morsel);
        if n == 0 {
            bounds = bounds.restarted(&RangeBounds::factory().0, 1);
        }
    }
    bounds.finish(0);
    for morsel in bounds.sent() {
        (0..way.from).for_each(|i| deals.feed(i, 1, morsel.clone()));
    }
    deals.finish(1);

    let ranged = RangeMerge::factory(spec, &schema, 7).unwrap();
    let mut merges = Instances::new(&ranged, way.to, way);
    let partitioner = Partitioner::by_range(RANGE.into(), way.to);
    let mut sent = deals.sent();
    assert!(sent.iter().all(|m| m.batch.schema() == dealt));
    // in no order
    sent.reverse();
    for morsel in sent {
        for (instance, piece) in partitioner.split(morsel).unwrap() {
            merges.feed(instance, 0, piece);
        }
    }
    merges.finish(0);
    let of_each: Vec<usize> = merges.0.iter().map(|(_, out)| out.morsels.iter().map(Morsel::rows).sum()).collect();
    let sent = merges.sent();
    let order: Vec<Origin> = sent.iter().map(|m| m.origin).collect();
    assert!(order.is_sorted(), "instances have ascending ranges");
    for (_, out) in &merges.0 {
        let begins = out.morsels.first().map(|m| Mark::Ascending(m.origin));
        assert!(begins.is_none() || out.marks.first() == begins.as_ref());
    }
    // each row has the place of its rank
    let mut rank = 0;
    for morsel in &sent {
        assert_eq!((morsel.origin.source, morsel.origin.partition), (7, 0));
        assert_eq!(morsel.origin.split as usize * UNIT + morsel.origin.row as usize, rank);
        assert!(morsel.origin.row as usize + morsel.rows() <= UNIT);
        rank += morsel.rows();
    }
    // put together by one instance, batches are those of a sort by one
    let mut one = Instances::new(&InOrder::factory(&schema, 9), 1, Way { spills: false, ..way });
    sent.iter().for_each(|morsel| one.feed(0, 0, morsel.clone()));
    one.finish(0);
    let whole = one.sent();
    assert!(whole.iter().rev().skip(1).all(|m| m.rows() == 8192));
    let result = super::concat(&schema, &sent);
    assert_eq!(super::concat(&schema, &whole), result);
    (of_each, result)
}

fn ways() -> Vec<Way> {
    let way = Way { from: 1, to: 1, before: None, split: 700, morsel: 64, spills: false };
    vec![
        way,
        Way { from: 3, to: 4, ..way },
        Way { from: 2, to: 8, spills: true, ..way },
        Way { from: 3, to: 2, before: Some(2), morsel: 100, ..way },
        Way { from: 2, to: 3, before: Some(5), spills: true, ..way },
        Way { from: 1, to: 200, before: Some(1), ..way },
    ]
}

#[test]
fn rows_are_in_the_order_of_a_stable_sort() {
    let mut rng = Rng(77);
    let orders = [
        vec![by("whole", true, false)],
        vec![by("whole", false, true)],
        vec![by("float", false, false)],
        vec![by("text", true, true)],
        vec![by("text", false, false), by("price", true, true)],
        vec![by("price", false, false), by("whole", true, true), by("text", true, false)],
    ];
    for (n, values, nulls) in [(0, 1, 0), (1, 1, 0), (5, 3, 50), (900, 1, 0), (900, 1, 100), (4000, 9, 20), (9000, 1 << 40, 5)] {
        let batch = rows(&mut rng, n, values, nulls);
        for (round, order) in orders.iter().enumerate() {
            let expected = model(&batch, order);
            for (number, way) in ways().into_iter().enumerate().filter(|(number, _)| n < 4000 || (number + round).is_multiple_of(2)) {
                let (_, got) = sort(&batch, order, way);
                assert!(lines(&got) == lines(&expected), "{n} rows of {values} values, order {round}, way {number}: {way:?}");
            }
        }
    }
}

#[test]
fn ranks_go_on_behind_a_unit() {
    let batch = rows(&mut Rng(5), 2 * UNIT + 4321, 1000, 3);
    let order = [by("whole", true, false)];
    let way = Way { from: 3, to: 4, before: None, split: 30_000, morsel: 8192, spills: false };
    assert_eq!(sort(&batch, &order, way).1, model(&batch, &order));
}

#[test]
fn no_instance_gets_much_more_than_its_part() {
    let mut rng = Rng(3);
    let (n, order) = (10_000, [by("whole", true, false)]);
    let with = |whole: Int64Array| {
        let batch = rows(&mut Rng(1), n, 5, 0);
        let columns =
            batch.columns().iter().enumerate().map(|(i, c)| if i == 1 { Arc::new(whole.clone()) as ArrayRef } else { Arc::clone(c) });
        RecordBatch::try_new(schema(), columns.collect()).unwrap()
    };
    let inputs = [
        ("sorted", with((0..n as i64).map(Some).collect())),
        ("sorted the other way", with((0..n as i64).rev().map(Some).collect())),
        ("one key", with((0..n).map(|_| Some(7)).collect())),
        ("mostly one key", with((0..n).map(|_| Some((rng.below(10) == 0) as i64)).collect())),
        ("nothing but nulls", with((0..n).map(|_| None).collect())),
    ];
    for (what, batch) in inputs {
        for split in [1000, n] {
            let way = Way { from: 4, to: 4, before: None, split, morsel: 500, spills: false };
            let (of_each, got) = sort(&batch, &order, way);
            assert_eq!(got, model(&batch, &order), "{what}");
            assert!(of_each.iter().all(|rows| *rows < n * 3 / 10 && *rows > n / 5), "{what}, splits of {split}: {of_each:?}");
        }
    }
    // fewer rows than ranges are spread, too
    let (of_each, _) = sort(&rows(&mut rng, 8, 1000, 0), &order, Way { from: 2, to: 4, before: None, split: 3, morsel: 2, spills: false });
    assert_eq!(of_each, [2; 4]);
}

#[test]
fn a_key_may_be_huge() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8View, false)]));
    let text = |n: usize| format!("{}{}", "x".repeat(if n.is_multiple_of(50) { 300_000 } else { 3 }), n * 7 % 100);
    let texts: StringViewArray = (0..300).map(|n| Some(text(n))).collect();
    let batch = RecordBatch::try_new(schema, vec![Arc::new(texts)]).unwrap();
    let order = [by("text", false, true)];
    let way = Way { from: 2, to: 3, before: None, split: 40, morsel: 7, spills: true };
    assert_eq!(sort(&batch, &order, way).1, model(&batch, &order));
}

#[test]
fn a_sample_is_the_same_whoever_draws_it() {
    let batch = rows(&mut Rng(9), 20_000, 1 << 30, 0);
    let spec = Arc::new(SortSpec { name: "s".into(), by: vec![by("whole", true, false)] });
    let (factory, _) = KeySample::factory(spec, &batch.schema(), Arc::new(BTreeSet::from([0]))).unwrap();
    let mut bounds = Vec::new();
    for (instances, morsel) in [(1, 8192), (2, 100), (7, 33)] {
        let way = Way { from: instances, to: 1, before: None, split: 1500, morsel, spills: false };
        let mut samples = Instances::new(&factory, instances, way);
        for (n, start) in (0..batch.num_rows()).step_by(way.split).enumerate() {
            let part = batch.slice(start, way.split.min(batch.num_rows() - start));
            cut(&part, n as u64, morsel, Some(&|row| !row.is_multiple_of(5))).into_iter().for_each(|m| samples.feed(n % instances, 0, m));
        }
        samples.finish(0);
        let mut one = Instances::new(&RangeBounds::factory().0, 1, way);
        samples.sent().into_iter().for_each(|m| one.feed(0, 0, m));
        one.finish(0);
        let told = super::concat(&RangeBounds::factory().1, &one.sent());
        // the bounds; what follows is about instances
        bounds.push(lines(&told.slice(0, usize::from(KEY_GROUPS) - 1)));
    }
    assert!(bounds[0] == bounds[1] && bounds[0] == bounds[2]);
}
