//! Operators that write layers: cuts on top of each other, whole ones between them, crashes before and after a cut is stored, and other
//! numbers of instances. What comes out adds up to what an instance sends that is never interrupted.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{Int8Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array, cast::AsArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{Out, Rng, endless_joins, lines};
use crate::kernel::hash::{KEY_GROUPS, instance_of};
use crate::kernel::{Morsel, Origin};
use crate::operator::aggregate::{AggregateSpec, Function, OverChanges, bag, count, last, max, min, sum};
use crate::operator::*;
use crate::plan::{Emit, JoinKind, Matching, Span, When};

const SECOND: i64 = 1_000_000;

/// What a store has of an instance: states by key group, or layers.
#[derive(Clone, Default)]
pub(super) struct Held {
    states: BTreeMap<u16, Vec<u8>>,
    layers: Vec<Vec<u8>>,
    /// Whether the instance may be asked for changes.
    known: bool,
}

impl Held {
    /// Stores a cut; `most` layers are put on each other. Returns whether it was one of changes.
    pub(super) fn cut(&mut self, op: &mut dyn Operator, most: usize) -> bool {
        let changes = self.known && self.layers.len() < most;
        let cut = if changes { op.snapshot_changes(1) } else { op.snapshot(1) };
        let delta = cut.unwrap().write_changes().unwrap();
        let old = std::mem::take(&mut self.states);
        self.known = true;
        let Some(layer) = delta.layer else {
            self.layers.clear();
            self.states = delta.unchanged.iter().map(|g| (*g, old[g].clone())).collect();
            self.states.extend(delta.states.into_iter().map(|s| (s.group, s.bytes)));
            return false;
        };
        assert!(layer.whole || changes, "a whole layer was asked for");
        if layer.whole {
            self.layers.clear();
        }
        if !layer.bytes.is_empty() {
            self.layers.push(layer.bytes);
        }
        !layer.whole
    }
    /// Gives an instance the key groups that are its. Returns whether there were any.
    pub(super) fn restore(&self, op: &mut dyn Operator, mine: &dyn Fn(u16) -> bool) -> bool {
        let states: Vec<_> = self.states.iter().filter(|(g, _)| mine(**g)).collect();
        states.iter().for_each(|(group, bytes)| op.restore(&GroupState { group: **group, bytes: (*bytes).clone() }).unwrap());
        let layers: Vec<&[u8]> = self.layers.iter().map(Vec::as_slice).collect();
        let found = !layers.is_empty() && op.restore_layers(&layers, mine).unwrap();
        found || !states.is_empty()
    }
}

enum Step {
    Rows(usize, RecordBatch),
    Time(EventTime),
}

type New = Box<dyn Fn(Instance) -> Box<dyn Operator>>;

struct Case {
    name: String,
    new: New,
    ports: usize,
    steps: Vec<Step>,
}

/// What a run went through.
#[derive(Default)]
struct Seen {
    deep: usize,
    whole: usize,
    same: usize,
    others: usize,
}

/// Changes are added up by row.
fn fold(sums: &mut BTreeMap<String, i64>, morsels: &[Morsel]) {
    for m in morsels {
        let batch = m.compact().unwrap();
        let weights: Int8Array = match batch.column_by_name(WEIGHT) {
            Some(w) => w.as_primitive::<Int8Type>().clone(),
            None => vec![1; batch.num_rows()].into(),
        };
        for (line, weight) in lines(&without_weights(&batch).unwrap()).into_iter().zip(weights.values()) {
            let sum = sums.entry(line).or_default();
            *sum += i64::from(*weight);
        }
    }
    sums.retain(|_, n| *n != 0);
}

/// Runs the steps; with `rng`, it is cut, killed and restored.
fn run(case: &Case, mut rng: Option<&mut Rng>, seen: &mut Seen) -> BTreeMap<String, i64> {
    let start = |of: usize| (0..of).map(|index| (case.new)(Instance { index, of })).collect::<Vec<_>>();
    let (mut of, mut ops, mut out) = (1, start(1), Out::default());
    let mut held = vec![Held::default()];
    let mut told = EventTime::MIN;
    // the stored cut: behind which step, how much was sent, the account, the time
    let mut saved: Option<(usize, usize, Account, EventTime)> = None;
    let mut at = 0;
    while at < case.steps.len() {
        match &case.steps[at] {
            Step::Rows(port, batch) => {
                let groups = keys::key_groups(&[Arc::clone(batch.column(0))], batch.num_rows()).unwrap();
                for (index, op) in ops.iter_mut().enumerate() {
                    let rows: UInt32Array =
                        (0u32..).zip(&groups).filter(|(_, g)| instance_of(**g, KEY_GROUPS, of) == index).map(|(row, _)| row).collect();
                    let part = arrow_select::take::take_record_batch(batch, &rows).unwrap();
                    if part.num_rows() > 0 {
                        out.feed(op.as_mut(), *port, Morsel::new(part, Origin::default()));
                    }
                }
            }
            Step::Time(time) => {
                told = told.max(*time);
                for op in &mut ops {
                    (0..case.ports).for_each(|port| op.watermark(port, told, &mut out).unwrap());
                }
            }
        }
        at += 1;
        let Some(rng) = rng.as_deref_mut() else { continue };
        if rng.below(3) == 0 {
            let mut new = held.clone();
            for (held, op) in new.iter_mut().zip(&mut ops) {
                let before = held.layers.len();
                let changes = held.cut(op.as_mut(), 6);
                seen.deep = seen.deep.max(held.layers.len());
                seen.whole += usize::from(!changes && before > 1);
            }
            // or it dies before the cut is stored
            if rng.below(6) > 0 {
                held = new;
                saved = Some((at, out.morsels.len(), out.account, told));
            } else {
                at = case.steps.len().min(at + 1);
                crash(case, rng, seen, (&mut of, &mut ops, &mut held), &mut out, &mut saved, &mut at, &mut told);
            }
        } else if rng.below(12) == 0 {
            crash(case, rng, seen, (&mut of, &mut ops, &mut held), &mut out, &mut saved, &mut at, &mut told);
        }
    }
    ops.iter_mut().for_each(|op| (0..case.ports).for_each(|port| out.finish(op.as_mut(), port)));
    assert!(out.account.balanced() && out.account.held == 0, "{}: {:?}", case.name, out.account);
    let mut sums = BTreeMap::new();
    fold(&mut sums, &out.morsels);
    sums
}

type Job<'a> = (&'a mut usize, &'a mut Vec<Box<dyn Operator>>, &'a mut Vec<Held>);

/// Back to the stored cut, perhaps on another number of instances.
#[allow(clippy::too_many_arguments)]
fn crash(
    case: &Case,
    rng: &mut Rng,
    seen: &mut Seen,
    (of, ops, held): Job<'_>,
    out: &mut Out,
    saved: &mut Option<(usize, usize, Account, EventTime)>,
    at: &mut usize,
    told: &mut EventTime,
) {
    let before = *of;
    if rng.below(2) == 0 {
        *of = 1 + rng.below(3) as usize;
    }
    *ops = (0..*of).map(|index| (case.new)(Instance { index, of: *of })).collect();
    let (step, sent, account, time) = saved.unwrap_or((0, 0, Account::default(), EventTime::MIN));
    (*at, *told, out.account) = (step, time, account);
    out.morsels.truncate(sent);
    for (index, op) in ops.iter_mut().enumerate() {
        for held in held.iter() {
            held.restore(op.as_mut(), &|group| instance_of(group, KEY_GROUPS, *of) == index);
        }
        let before = out.morsels.len();
        (0..case.ports).for_each(|port| op.watermark(port, time, out).unwrap());
        assert_eq!(out.morsels.len(), before, "{}: what was sent is sent again", case.name);
    }
    if *of == before {
        seen.same += usize::from(held.iter().any(|h| h.layers.len() > 1));
    } else {
        seen.others += usize::from(held.iter().any(|h| h.layers.len() > 1));
        // what was written stays stored until all of them have written
        let mut first: Vec<Held> = vec![Held::default(); *of];
        first.iter_mut().zip(ops.iter_mut()).for_each(|(held, op)| assert!(!held.cut(op.as_mut(), 6)));
        *held = first;
    }
}

fn check(case: &Case, seeds: u64, seen: &mut Seen) {
    let expected = run(case, None, &mut Seen::default());
    assert!(!expected.is_empty(), "{}: nothing comes out", case.name);
    for seed in 0..seeds {
        let mut rng = Rng(seed * 7919 + 3);
        assert_eq!(run(case, Some(&mut rng), seen), expected, "{} seed {seed}", case.name);
    }
}

fn thorough(seen: &Seen) {
    assert!(
        seen.deep >= 4 && seen.whole > 5 && seen.same > 5 && seen.others > 5,
        "{} {} {} {}",
        seen.deep,
        seen.whole,
        seen.same,
        seen.others
    );
}

fn schema(weighed: bool) -> SchemaRef {
    let mut fields = vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, false),
        Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), false),
    ];
    fields.extend(weighed.then(weight_field));
    Arc::new(Schema::new(fields))
}

type Row = (Option<u64>, i64, i64);

fn batch(rows: &[(Row, i8)], weighed: bool) -> RecordBatch {
    let text = |k: &u64| if k.is_multiple_of(2) { format!("a rather long key {k}") } else { format!("k{k}") };
    let keys: StringArray = rows.iter().map(|((k, _, _), _)| k.as_ref().map(text)).collect();
    let values: Int64Array = rows.iter().map(|((_, v, _), _)| *v).collect::<Vec<_>>().into();
    let times: TimestampMicrosecondArray = rows.iter().map(|((_, _, t), _)| *t).collect::<Vec<_>>().into();
    let mut columns: Vec<arrow_array::ArrayRef> = vec![Arc::new(keys), Arc::new(values), Arc::new(times)];
    if weighed {
        columns.push(Arc::new(rows.iter().map(|(_, w)| *w).collect::<Int8Array>()));
    }
    RecordBatch::try_new(schema(weighed), columns).unwrap()
}

/// Rows on several ports, which may be taken back, and watermarks.
fn steps(rng: &mut Rng, ports: usize, weighed: bool, steps: usize) -> Vec<Step> {
    let mut there: Vec<Vec<Row>> = vec![Vec::new(); ports];
    let mut out = Vec::new();
    for step in 0..steps as i64 {
        let port = rng.below(ports as u64) as usize;
        let mut rows = Vec::new();
        for _ in 0..rng.below(12) {
            let there = &mut there[port];
            if weighed && rng.below(5) < 2 && !there.is_empty() {
                rows.push((there.swap_remove(rng.below(there.len() as u64) as usize), -1));
            } else {
                // keys come and go
                let key = (rng.below(9) > 0).then(|| step as u64 / 8 * 2 + rng.below(6));
                let row = (key, rng.below(6) as i64, (step - rng.below(4) as i64) * SECOND / 2);
                there.push(row);
                rows.push((row, 1));
            }
        }
        if !rows.is_empty() {
            out.push(Step::Rows(port, batch(&rows, weighed)));
        }
        if rng.below(3) == 0 {
            out.push(Step::Time((step - 3) * SECOND / 2));
        }
    }
    out
}

fn function(name: &str, inputs: &[&str], factory: Arc<dyn AccumulatorFactory>, weighed: bool) -> Function {
    let types: Vec<DataType> = inputs.iter().map(|i| schema(false).field_with_name(i).unwrap().data_type().clone()).collect();
    let factory = match weighed.then(|| factory.over_changes()) {
        Some(OverChanges::Own(own)) => own,
        Some(OverChanges::Kept(kind)) => bag(factory, kind, &types).unwrap(),
        Some(OverChanges::Never) => panic!("{name} cannot be taken back"),
        None => factory,
    };
    super::function(name, inputs, factory)
}

fn aggregate(weighed: bool, window: Option<(i64, i64)>, emit: Emit, rng: &mut Rng) -> Case {
    let span = |(size, slide)| EventWindow { column: "t".into(), span: Span::Aligned { size, slide }, offset: 0 };
    let mut functions = vec![
        function("rows", &[], count(), weighed),
        function("total", &["v"], sum::<i64>(), weighed),
        function("least", &["v"], min::<i64>(), weighed),
        function("most", &["v"], max::<i64>(), weighed),
    ];
    if !weighed {
        functions.push(function("last", &["v"], last::<i64>(false), false));
    }
    let spec = Arc::new(AggregateSpec { name: "p/a".into(), keys: vec!["k".into()], window: window.map(span), functions });
    let input = schema(weighed);
    let output = with_weight(&spec.output_schema(&input).unwrap());
    let factory = UpdatingAggregate::factory(Arc::clone(&spec), &input, &output, emit, 9).unwrap();
    let mut all = steps(rng, 1, weighed, 90);
    if !weighed {
        let partial = PartialAggregate::each_morsel(Arc::clone(&spec), &input).unwrap();
        for step in &mut all {
            if let Step::Rows(_, batch) = step {
                let (mut op, mut out) = (partial.create(Instance { index: 0, of: 1 }).unwrap(), Out::default());
                out.feed(op.as_mut(), 0, Morsel::new(batch.clone(), Origin::default()));
                out.finish(op.as_mut(), 0);
                let parts: Vec<RecordBatch> = out.morsels.iter().map(|m| m.compact().unwrap()).collect();
                *batch = arrow_select::concat::concat_batches(&parts[0].schema(), &parts).unwrap();
            }
        }
    }
    Case {
        name: format!("aggregate {weighed} {window:?} {emit:?}"),
        new: Box::new(move |i| factory.create(i).unwrap()),
        ports: 1,
        steps: all,
    }
}

fn with_weight(schema: &SchemaRef) -> SchemaRef {
    super::super::weights::with_weight_field(schema)
}

#[test]
fn groups_that_change() {
    let mut rng = Rng(5);
    let mut seen = Seen::default();
    let update = Emit { when: When::OnUpdate, lateness: 0 };
    for weighed in [false, true] {
        check(&aggregate(weighed, None, update, &mut rng), 12, &mut seen);
    }
    thorough(&seen);
}

#[test]
fn groups_of_windows_that_close() {
    let mut rng = Rng(6);
    let mut seen = Seen::default();
    for weighed in [false, true] {
        for window in [(4 * SECOND, 4 * SECOND), (6 * SECOND, 2 * SECOND)] {
            for (when, lateness) in
                [(When::OnUpdate, 0), (When::Every(3 * SECOND), 0), (When::Every(5 * SECOND), 3 * SECOND), (When::OnClose, 4 * SECOND)]
            {
                check(&aggregate(weighed, Some(window), Emit { when, lateness }, &mut rng), 4, &mut seen);
            }
        }
    }
    thorough(&seen);
}

#[test]
fn first_rows_that_change() {
    let mut rng = Rng(7);
    let mut seen = Seen::default();
    for weighed in [false, true] {
        for rows in [1, 3] {
            let by = vec![SortKey { column: "v".into(), ascending: false, nulls_first: false }];
            let spec = TopSpec { rows, keys: vec!["k".into()], order: SortSpec { name: "p/t".into(), by } };
            let (factory, _) = NetTop::factory(Arc::new(spec), &schema(weighed), 9).unwrap();
            let case = Case {
                name: format!("top {rows} {weighed}"),
                new: Box::new(move |i| factory.create(i).unwrap()),
                ports: 1,
                steps: steps(&mut rng, 1, weighed, 90),
            };
            check(&case, 8, &mut seen);
        }
    }
    thorough(&seen);
}

fn join(kind: JoinKind, matching: Matching, rng: &mut Rng) -> Case {
    let schema = schema(false);
    let factory = endless_joins::factory(&endless_joins::spec(kind, matching), &schema, &schema);
    let steps = steps(rng, 2, false, 90);
    Case { name: format!("{kind:?} {matching:?}"), new: Box::new(move |i| factory.create(i).unwrap()), ports: 2, steps }
}

const KINDS: [JoinKind; 6] = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];

#[test]
fn rows_near_in_time() {
    let mut rng = Rng(8);
    let mut seen = Seen::default();
    for kind in KINDS {
        for (from, to) in [(-4, 4), (0, 20)] {
            let within = Matching::Within { from: from * SECOND, to: to * SECOND };
            check(&join(kind, within, &mut rng), 5, &mut seen);
        }
    }
    thorough(&seen);
}

#[test]
fn rows_of_a_window() {
    let mut rng = Rng(9);
    let mut seen = Seen::default();
    for kind in KINDS {
        for (size, slide) in [(5, 5), (12, 4)] {
            let window = Span::Aligned { size: size * SECOND, slide: slide * SECOND };
            check(&join(kind, Matching::SameWindow { window }, &mut rng), 3, &mut seen);
        }
    }
    thorough(&seen);
}
