use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::hand::Longest;
use super::{Out, Rng, cut, encode, function, lines, memory, show};
use crate::kernel::hash::{KEY_GROUPS, hash_columns, instance_of, key_group};
use crate::kernel::{Morsel, Selection};
use crate::operator::aggregate::*;
use crate::operator::*;
use crate::plan::Span;
use crate::record::{Decimal, Str};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), false),
        Field::new("x", DataType::Float64, false),
        Field::new("i", DataType::Int32, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("d", DataType::Decimal128(10, 2), false),
    ]))
}

fn split(rng: &mut Rng, rows: usize, from: i64) -> RecordBatch {
    let mut opt = |n: u64| (rng.below(8) > 0).then(|| rng.below(n));
    let skew = |v: u64| if v > 20 { 1 } else { v };
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(StringArray::from((0..rows).map(|_| opt(60).map(|v| format!("key {:09}", skew(v) * 7919))).collect::<Vec<_>>())),
            Arc::new(Int64Array::from((0..rows).map(|_| opt(5).map(|v| v as i64)).collect::<Vec<_>>())),
            Arc::new(TimestampMicrosecondArray::from((0..rows).map(|_| from + opt(5000).unwrap_or(0) as i64).collect::<Vec<_>>())),
            Arc::new(Float64Array::from((0..rows).map(|_| opt(1_000_000).unwrap_or(3) as f64 / 7.0 - 3e4).collect::<Vec<_>>())),
            Arc::new(Int32Array::from((0..rows).map(|_| opt(1000).map(|v| v as i32 - 500)).collect::<Vec<_>>())),
            Arc::new(StringArray::from((0..rows).map(|_| opt(90).map(|v| format!("s{v}"))).collect::<Vec<_>>())),
            Arc::new(
                Decimal128Array::from((0..rows).map(|_| opt(9999).unwrap_or(0) as i128).collect::<Vec<_>>())
                    .with_data_type(DataType::Decimal128(10, 2)),
            ),
        ],
    )
    .unwrap()
}

fn spec(keys: &[&str], window: Option<i64>) -> Arc<AggregateSpec> {
    Arc::new(AggregateSpec {
        name: "p/a".into(),
        keys: keys.iter().map(|s| (*s).into()).collect(),
        window: window.map(|size| EventWindow { column: "t".into(), span: Span::Aligned { size, slide: size }, offset: 0 }),
        functions: vec![
            function("rows", &[], count()),
            function("some", &["i"], count_of()),
            function("total", &["i"], sum::<Option<i32>>()),
            function("x", &["x"], sum::<f64>()),
            function("low", &["i"], min::<Option<i32>>()),
            function("high", &["s"], max::<Option<Str>>()),
            function("mean", &["x"], mean::<f64>()),
            function("d", &["d"], sum::<Decimal<10, 2>>()),
            function("longest", &["s", "i"], user::<Longest>()),
        ],
    })
}

pub(super) struct Run<'a> {
    pub(super) spec: &'a Arc<AggregateSpec>,
    pub(super) size: usize,
    pub(super) threads: usize,
    pub(super) finals: usize,
    pub(super) keep: Option<&'a dyn Fn(usize) -> bool>,
    /// Snapshot and restore the final instances, into this many, after half of the partial rows.
    pub(super) restart: Option<usize>,
    pub(super) max_groups: usize,
    /// Spill now and then, with this share of memory.
    pub(super) spill: Option<usize>,
}

fn finals(run: &Run<'_>, input: &SchemaRef, of: usize) -> Vec<Box<dyn Operator>> {
    let factory = FinalAggregate::factory(Arc::clone(run.spec), input, 9).unwrap();
    (0..of)
        .map(|index| {
            let mut op = factory.create(Instance { index, of }).unwrap();
            run.spill.iter().for_each(|share| op.memory(memory(*share)));
            op
        })
        .collect()
}

pub(super) fn run(run: &Run<'_>, splits: &[RecordBatch]) -> RecordBatch {
    let input = splits[0].schema();
    let factory = PartialAggregate::factory_with(Arc::clone(run.spec), &input, run.max_groups).unwrap();
    let mut sources: Vec<_> = (0..run.threads).map(|index| factory.create(Instance { index, of: run.threads }).unwrap()).collect();
    let mut out = Out::default();
    for (i, split) in splits.iter().enumerate().rev() {
        let op = sources[i % run.threads].as_mut();
        let mut end = None;
        for morsel in cut(split, i as u64, run.size, run.keep) {
            end = Some(morsel.origin);
            out.feed(op, 0, morsel);
        }
        if let Some(origin) = end {
            op.split_end(0, origin, &mut out).unwrap();
        }
    }
    sources.iter_mut().for_each(|op| out.finish(op.as_mut(), 0));
    assert!(out.account.balanced() && out.account.held == 0, "{:?}", out.account);
    let mut partial = out.morsels;
    partial.sort_by_key(|m| m.origin);

    let mut of = run.finals;
    let mut ops = finals(run, &input, of);
    let mut out = Out::default();
    for (i, morsel) in partial.iter().enumerate() {
        if let (Some(after), true) = (run.restart, i == partial.len() / 2) {
            let states: Vec<GroupState> = ops.iter_mut().flat_map(|op| op.snapshot(1).unwrap().write().unwrap()).collect();
            of = after;
            ops = finals(run, &input, of);
            for state in &states {
                ops[instance_of(state.group, KEY_GROUPS, of)].restore(state).unwrap();
            }
        }
        let hashes = hash_columns(&morsel.batch, &run.spec.keys).unwrap();
        for (index, op) in ops.iter_mut().enumerate() {
            let mut words = vec![0u64; hashes.len().div_ceil(64)];
            (0..hashes.len())
                .filter(|r| instance_of(key_group(hashes[*r], KEY_GROUPS), KEY_GROUPS, of) == index)
                .for_each(|r| words[r / 64] |= 1 << (r % 64));
            out.feed(op.as_mut(), 0, Morsel { selection: Some(Selection::new(words)), ..morsel.clone() });
            if run.spill.is_some() && (i + index).is_multiple_of(3) {
                let before = op.spillable_bytes();
                op.spill().unwrap();
                assert!(before == 0 || op.spillable_bytes() < before);
            }
        }
    }
    ops.iter_mut().for_each(|op| out.finish(op.as_mut(), 0));
    assert!(out.account.balanced(), "{:?}", out.account);
    assert_eq!(out.account.held, 0);
    out.rows(&run.spec.output_schema(&input).unwrap())
}

/// The same, row by row.
fn model(spec: &AggregateSpec, splits: &[RecordBatch], keep: Option<&dyn Fn(usize) -> bool>) -> Vec<String> {
    #[derive(Default)]
    struct G {
        rows: i64,
        some: i64,
        total: Option<i64>,
        x: f64,
        low: Option<i32>,
        high: Option<String>,
        d: i128,
        longest: String,
        weight: i64,
    }
    let mut all: BTreeMap<Vec<String>, G> = BTreeMap::new();
    for batch in splits {
        let mut here: BTreeMap<Vec<String>, f64> = BTreeMap::new();
        for row in (0..batch.num_rows()).filter(|r| keep.is_none_or(|k| k(*r))) {
            let mut key: Vec<String> = spec.keys.iter().map(|k| show(batch.column_by_name(k).unwrap(), row)).collect();
            if let Some(Span::Aligned { size, .. }) = spec.window.as_ref().map(|w| w.span) {
                let t = batch.column(2).as_primitive::<TimestampMicrosecondType>().value(row);
                let start = t - t.rem_euclid(size);
                for t in [start, start + size] {
                    let a: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![t]));
                    key.push(show(&a, 0));
                }
            }
            *here.entry(key.clone()).or_default() += batch.column(3).as_primitive::<Float64Type>().value(row);
            let g = all.entry(key).or_default();
            g.rows += 1;
            let i = batch.column(4).as_primitive::<Int32Type>();
            if i.is_valid(row) {
                g.some += 1;
                g.total = Some(g.total.unwrap_or(0) + i64::from(i.value(row)));
                g.low = Some(g.low.map_or(i.value(row), |l| l.min(i.value(row))));
            }
            let s = batch.column_by_name("s").unwrap();
            if s.is_valid(row) {
                let s = show(s, row);
                g.high = Some(g.high.take().map_or(s.clone(), |h| h.max(s.clone())));
                if s.len() > g.longest.len() {
                    g.longest = s;
                }
                g.weight += if i.is_valid(row) { i64::from(i.value(row)) } else { 0 };
            }
            g.d += batch.column(6).as_primitive::<Decimal128Type>().value(row);
        }
        for (key, x) in here {
            all.get_mut(&key).unwrap().x += x;
        }
    }
    let f = |v: f64| format!("f{:x}", v.to_bits());
    let o = |v: Option<String>| v.unwrap_or("null".into());
    let mut out: Vec<String> = all
        .iter()
        .map(|(k, g)| {
            let mut cells = k.clone();
            cells.extend([
                g.rows.to_string(),
                g.some.to_string(),
                o(g.total.map(|v| v.to_string())),
                f(g.x),
                o(g.low.map(|v| v.to_string())),
                o(g.high.clone()),
                f(g.x / g.rows as f64),
                format!("{:.2}", g.d as f64 / 100.0),
                format!("{}/{}", g.longest, g.weight),
            ]);
            cells.join("|")
        })
        .collect();
    out.sort();
    out
}

fn sorted(batch: &RecordBatch) -> Vec<String> {
    let mut out = lines(batch);
    out.sort();
    out
}

#[test]
fn equals_the_row_model_however_it_is_run() {
    let mut rng = Rng(42);
    let splits: Vec<RecordBatch> =
        [900, 1, 2500, 0, 64, 333].iter().enumerate().map(|(i, n)| split(&mut rng, *n, i as i64 * 3000)).collect();
    let keep = |row: usize| row % 5 != 2;
    for (keys, window) in [
        (vec!["k"], None),
        (vec!["n"], None),
        (vec!["k", "n"], None),
        (vec!["i"], None),
        (vec!["k"], Some(1000)),
        (vec![], Some(700)),
        (vec!["d", "k", "n", "i"], None),
    ] {
        let spec = spec(&keys, window);
        for keep in [None, Some(&keep as &dyn Fn(usize) -> bool)] {
            let expected = model(&spec, &splits, keep);
            let base = Run { spec: &spec, size: 1000, threads: 1, finals: 1, keep, restart: None, max_groups: 1 << 18, spill: None };
            let first = run(&base, &splits);
            assert_eq!(sorted(&first), expected, "{keys:?} {window:?}");
            for (size, threads, finals, restart) in
                [(1, 3, 2, None), (7, 1, 3, None), (64, 2, 1, Some(2)), (1000, 5, 4, Some(1)), (7, 3, 3, Some(5))]
            {
                let again = run(&Run { size, threads, finals, restart, ..base }, &splits);
                assert_eq!(lines(&again), lines(&first), "{keys:?} {window:?} {size} {threads} {finals} {restart:?}: values and order");
            }
            for to in [DataType::Utf8View, DataType::LargeUtf8, DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))] {
                let encoded: Vec<RecordBatch> = splits.iter().map(|b| encode(b, &to)).collect();
                let again = run(&Run { threads: 2, finals: 2, size: 100, ..base }, &encoded);
                assert_eq!(lines(&again), lines(&first), "{to}");
                // tables that fit, and key groups that are divided to the end
                let shares = match (&to, keep) {
                    (DataType::Utf8View, None) => vec![(1, None), (1 << 20, Some(3))],
                    (DataType::Dictionary(..), Some(_)) => vec![(20_000, Some(3))],
                    _ => Vec::new(),
                };
                for (share, restart) in shares {
                    let spilled = Run { threads: 3, finals: 2, size: 64, spill: Some(share), restart, ..base };
                    assert_eq!(lines(&run(&spilled, &encoded)), lines(&first), "{keys:?} {window:?} {to} spilled, {share} {restart:?}");
                }
            }
        }
    }
}

#[test]
fn early_flushes_do_not_depend_on_morsels() {
    let mut rng = Rng(5);
    let splits: Vec<RecordBatch> = (0..3).map(|i| split(&mut rng, 30_000, i)).collect();
    let spec = spec(&["i", "k"], None);
    let base = Run { spec: &spec, size: 5000, threads: 1, finals: 1, keep: None, restart: None, max_groups: 1000, spill: None };
    let first = run(&base, &splits);
    assert_eq!(lines(&run(&Run { size: 777, threads: 2, finals: 3, ..base }, &splits)), lines(&first));
    let whole = run(&Run { max_groups: 1 << 18, ..base }, &splits);
    assert_eq!(whole.num_rows(), first.num_rows());
}

#[test]
fn a_global_aggregate_always_has_a_row() {
    let spec = spec(&[], None);
    let empty = RecordBatch::new_empty(schema());
    let run_of = |finals| {
        run(
            &Run { spec: &spec, size: 10, threads: 2, finals, keep: None, restart: None, max_groups: 10, spill: None },
            std::slice::from_ref(&empty),
        )
    };
    for finals in [1, 3] {
        assert_eq!(lines(&run_of(finals)), ["0|0|null|f0|null|null|null|0.00|/0"]);
    }
    let mut rng = Rng(1);
    let splits = vec![split(&mut rng, 100, 0), split(&mut rng, 50, 0)];
    let all = run(&Run { spec: &spec, size: 33, threads: 2, finals: 1, keep: None, restart: None, max_groups: 10, spill: None }, &splits);
    assert_eq!(lines(&all), model(&spec, &splits, None));
}

#[test]
fn windows_are_emitted_once_and_late_rows_counted() {
    windows_over_time(None);
}
#[test]
fn windows_on_disk_are_emitted_once_and_late_rows_counted() {
    windows_over_time(Some(1));
    windows_over_time(Some(1 << 20));
}
fn windows_over_time(spill: Option<usize>) {
    let mut rng = Rng(9);
    let input = split(&mut rng, 4000, 0);
    let spec = spec(&["n"], Some(1000));
    let mut op = PartialAggregate::factory(Arc::clone(&spec), &schema(), 1).unwrap().create(Instance { index: 0, of: 1 }).unwrap();
    let mut last = FinalAggregate::factory(Arc::clone(&spec), &schema(), 2).unwrap().create(Instance { index: 0, of: 1 }).unwrap();
    let (mut a, mut b) = (Out::default(), Out::default());
    let mut origin = None;
    // rows in time order, so that watermarks are honest
    let times = input.column(2).as_primitive::<TimestampMicrosecondType>().values().to_vec();
    let mut order: Vec<u32> = (0..4000).collect();
    order.sort_by_key(|i| times[*i as usize]);
    let input = arrow_select::take::take_record_batch(&input, &UInt32Array::from(order)).unwrap();
    for morsel in cut(&input, 0, 100, None) {
        let t = morsel.batch.column(2).as_primitive::<TimestampMicrosecondType>().value(0);
        origin = Some(morsel.origin);
        {
            let op_out = &mut a;
            op.watermark(0, t, op_out).unwrap();
        }
        for m in std::mem::take(&mut a.morsels) {
            b.feed(last.as_mut(), 0, m);
        }
        last.watermark(0, t, &mut b).unwrap();
        assert!(last.hold() >= t - 1, "only open windows hold");
        a.feed(op.as_mut(), 0, morsel);
        // now and then nothing comes for a while, and the second phase waits no more: nothing is held back
        if rng.below(3) == 0 {
            op.idle(&mut a).unwrap();
            assert_eq!(a.account.held, 0);
        }
        // a restart in the middle of everything
        let (p, f) = (op.snapshot(1).unwrap().write().unwrap(), last.snapshot(1).unwrap().write().unwrap());
        op = PartialAggregate::factory(Arc::clone(&spec), &schema(), 1).unwrap().create(Instance { index: 0, of: 1 }).unwrap();
        last = FinalAggregate::factory(Arc::clone(&spec), &schema(), 2).unwrap().create(Instance { index: 0, of: 1 }).unwrap();
        p.iter().for_each(|s| op.restore(s).unwrap());
        spill.iter().for_each(|share| last.memory(memory(*share)));
        f.iter().for_each(|s| last.restore(s).unwrap());
        if spill.is_some() {
            last.spill().unwrap();
        }
    }
    op.split_end(0, origin.unwrap(), &mut a).unwrap();
    let all = std::mem::take(&mut a.morsels);
    let late = all[0].clone();
    all.into_iter().for_each(|m| b.feed(last.as_mut(), 0, m));
    last.watermark(0, END_OF_TIME, &mut b).unwrap();
    b.feed(last.as_mut(), 0, late.clone());
    b.finish(last.as_mut(), 0);
    assert_eq!(b.account.late, late.rows() as u64);
    assert!(b.account.balanced() && a.account.balanced());
    assert_eq!((a.account.held, b.account.held), (0, 0));
    let got = b.rows(&spec.output_schema(&schema()).unwrap());
    let close = |lines: Vec<String>| {
        lines.into_iter().map(|l| l.split('|').filter(|c| !c.starts_with('f')).collect::<Vec<_>>().join("|")).collect::<Vec<_>>()
    };
    assert_eq!(close(sorted(&got)), close(model(&spec, std::slice::from_ref(&input), None)));
}

#[test]
fn release_gives_up_a_key_group_only() {
    let mut rng = Rng(3);
    let splits = vec![split(&mut rng, 500, 0)];
    let spec = spec(&["k"], None);
    let mut op = PartialAggregate::factory(Arc::clone(&spec), &schema(), 1).unwrap().create(Instance { index: 0, of: 1 }).unwrap();
    let mut out = Out::default();
    cut(&splits[0], 0, 100, None).into_iter().for_each(|m| out.feed(op.as_mut(), 0, m));
    let before = op.snapshot(0).unwrap().write().unwrap();
    op.release(before[0].group);
    assert_eq!(
        op.snapshot(0).unwrap().write().unwrap().iter().map(|s| s.group).collect::<Vec<_>>(),
        before.iter().skip(1).map(|s| s.group).collect::<Vec<_>>()
    );
    op.restore(&before[0]).unwrap();
    out.finish(op.as_mut(), 0);
    let partial = out.morsels;
    let mut last = FinalAggregate::factory(Arc::clone(&spec), &schema(), 2).unwrap().create(Instance { index: 0, of: 1 }).unwrap();
    let mut out = Out::default();
    partial.into_iter().for_each(|m| out.feed(last.as_mut(), 0, m));
    let state = last.snapshot(0).unwrap().write().unwrap();
    last.release(state[2].group);
    last.restore(&state[2]).unwrap();
    out.finish(last.as_mut(), 0);
    assert_eq!(sorted(&out.rows(&spec.output_schema(&schema()).unwrap())), model(&spec, &splits, None));
}

#[test]
fn overflow_and_panics_name_operator_and_row() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![1, 2, i64::MAX]))]).unwrap();
    for (factory, want) in [(sum::<i64>(), "operator `p/a` failed: the sum overflows"), (user::<super::hand::Fussy>(), "panicked: too big")]
    {
        let spec = Arc::new(AggregateSpec {
            name: "p/a".into(),
            keys: vec![],
            window: None,
            functions: vec![Function { name: "s".into(), inputs: vec!["v".into()], factory }],
        });
        let mut op = PartialAggregate::factory(spec, &schema, 1).unwrap().create(Instance { index: 0, of: 1 }).unwrap();
        let mut morsel = cut(&batch, 3, 3, None).remove(0);
        morsel.origin.row = 40;
        let error = op.process(0, morsel, &mut Out::default()).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("row 42 of split 3"), "{error}");
    }
}
