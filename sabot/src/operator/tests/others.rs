use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::hand::Item;
use super::{Out, Rng, cut, encode, lines, memory};
use crate::kernel::{Morsel, Origin};
use crate::operator::*;
use crate::record::{Str, View};

fn one(factory: &Arc<dyn OperatorFactory>) -> Box<dyn Operator> {
    factory.create(Instance { index: 0, of: 1 }).unwrap()
}

fn table(rng: &mut Rng, rows: usize) -> RecordBatch {
    let mut opt = |n: u64| (rng.below(9) > 0).then(|| rng.below(n));
    let float = |v: u64| match v {
        0 => f64::NAN,
        1 => -0.0,
        2 => 0.0,
        3 => f64::NEG_INFINITY,
        v => v as f64 / 3.0,
    };
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("f", DataType::Float64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("id", DataType::UInt32, false),
    ]));
    RecordBatch::try_new(
        schema,
        vec![
            Arc::new(Float64Array::from((0..rows).map(|_| opt(12).map(float)).collect::<Vec<_>>())),
            Arc::new(StringArray::from((0..rows).map(|_| opt(4).map(|v| format!("text {v}"))).collect::<Vec<_>>())),
            Arc::new(UInt32Array::from((0..rows as u32).collect::<Vec<_>>())),
        ],
    )
    .unwrap()
}

#[test]
fn sorts_stably() {
    use arrow_array::cast::AsArray;
    let mut rng = Rng(4);
    let splits: Vec<RecordBatch> = [700, 0, 30, 64, 1200].iter().map(|n| table(&mut rng, *n)).collect();
    let key = |c: &str, ascending, nulls_first| SortKey { column: c.into(), ascending, nulls_first };
    let keep = |r: usize| !r.is_multiple_of(4);
    for by in [vec![key("f", true, true)], vec![key("s", false, false), key("f", false, true)]] {
        let spec = Arc::new(SortSpec { name: "p/s".into(), by: by.clone() });
        for (size, threads, select, to) in [
            (1000, 1, false, DataType::Utf8),
            (7, 3, true, DataType::Utf8View),
            (64, 2, true, DataType::Utf8),
            (1, 2, false, DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))),
        ] {
            let splits: Vec<RecordBatch> = splits.iter().map(|b| encode(b, &to)).collect();
            let schema = splits[0].schema();
            // model: collect rows, stable sort by a comparison of values
            let mut rows: Vec<(Option<f64>, Option<String>, String)> = Vec::new();
            for b in &splits {
                let (f, s) = (
                    b.column(0).as_primitive::<arrow_array::types::Float64Type>(),
                    arrow_cast::cast(b.column(1), &DataType::Utf8).unwrap(),
                );
                let text = lines(b);
                for r in (0..b.num_rows()).filter(|r| !select || keep(*r)) {
                    rows.push((
                        f.is_valid(r).then(|| f.value(r)),
                        s.is_valid(r).then(|| s.as_string::<i32>().value(r).to_owned()),
                        text[r].clone(),
                    ));
                }
            }
            rows.sort_by(|a, b| {
                let mut order = std::cmp::Ordering::Equal;
                for k in &by {
                    let nulls = |x: bool, y: bool| if k.nulls_first { y.cmp(&x) } else { x.cmp(&y) };
                    let (null, value) = if k.column == "f" {
                        (nulls(a.0.is_none(), b.0.is_none()), a.0.zip(b.0).map_or(std::cmp::Ordering::Equal, |(x, y)| x.total_cmp(&y)))
                    } else {
                        (
                            nulls(a.1.is_none(), b.1.is_none()),
                            a.1.as_ref().zip(b.1.as_ref()).map_or(std::cmp::Ordering::Equal, |(x, y)| x.cmp(y)),
                        )
                    };
                    order = order.then(null).then(if k.ascending { value } else { value.reverse() });
                }
                order
            });
            let factory = PartialSort::factory(Arc::clone(&spec), &schema, 0, [0]).unwrap();
            let one = |factory| {
                let mut op = one(factory);
                if threads == 2 {
                    op.memory(memory(if select { 1 } else { 20_000 }));
                }
                op
            };
            let mut ops: Vec<_> = (0..threads).map(|_| one(&factory)).collect();
            let mut out = Out::default();
            for (i, b) in splits.iter().enumerate() {
                let op = &mut ops[i % threads];
                for (n, m) in cut(b, i as u64, size, if select { Some(&keep) } else { None }).into_iter().enumerate() {
                    if n == 3 {
                        let states = op.snapshot(0).unwrap().write().unwrap();
                        *op = one(&factory);
                        states.iter().for_each(|s| op.restore(s).unwrap());
                    }
                    let origin = m.origin;
                    out.feed(op.as_mut(), 0, m);
                    if origin.row as usize + size >= b.num_rows() {
                        op.split_end(0, origin, &mut out).unwrap();
                    }
                }
            }
            ops.iter_mut().for_each(|op| out.finish(op.as_mut(), 0));
            assert!(out.account.balanced() && out.account.held == 0);
            let mut runs: Vec<Morsel> = out.morsels;
            runs.sort_by_key(|m| m.origin);
            let factory = MergeSort::factory(Arc::clone(&spec), &schema, 1).unwrap();
            let (mut merge, mut out) = (one(&factory), Out { tight: true, ..Out::default() });
            for run in runs {
                out.feed(merge.as_mut(), 0, run);
                if threads == 2 && !select {
                    // runs pile up, and are merged in several passes
                    if merge.spillable_bytes() > 8_000 {
                        merge.spill().unwrap();
                        assert_eq!(merge.spillable_bytes(), 0);
                    }
                    continue;
                }
                merge.spill().unwrap();
                let states = merge.snapshot(0).unwrap().write().unwrap();
                merge = one(&factory);
                states.iter().for_each(|s| merge.restore(s).unwrap());
            }
            out.finish(merge.as_mut(), 0);
            let expected = rows.into_iter().map(|r| r.2).collect::<Vec<_>>();
            assert_eq!(lines(&out.rows(&schema)), expected);
            assert!(out.account.balanced() && out.account.held == 0);

            // by several instances, each of which sees all runs
            let (factory, with_keys) = PartialSort::with_keys(Arc::clone(&spec), &schema, 0, [0]).unwrap();
            let mut runs = Out::default();
            for (i, b) in splits.iter().enumerate() {
                let mut op = factory.create(Instance { index: 0, of: 1 }).unwrap();
                for m in cut(b, i as u64, size, if select { Some(&keep) } else { None }) {
                    runs.feed(op.as_mut(), 0, m);
                }
                op.split_end(0, Origin { split: i as u64, ..Origin::default() }, &mut runs).unwrap();
            }
            assert!(runs.morsels.iter().all(|m| m.batch.schema() == with_keys));
            let factory = range_sort(Arc::clone(&spec), &schema, 1).unwrap();
            let mut out = Out { tight: true, ..Out::default() };
            for index in 0..threads {
                let mut op = factory.create(Instance { index, of: threads }).unwrap();
                runs.morsels.iter().for_each(|m| out.feed(op.as_mut(), 0, m.clone()));
                out.finish(op.as_mut(), 0);
            }
            assert_eq!(lines(&out.rows(&schema)), expected);
            assert!(out.account.balanced() && out.account.held == 0);
        }
    }
}

#[test]
fn several_instances_sort_as_one_does() {
    // more rows than are sorted at once, and more than have the same split
    let mut rng = Rng(12);
    let rows = 140_000;
    let column = |rng: &mut Rng, below: u64| Int64Array::from_iter_values((0..rows).map(|_| rng.below(below) as i64));
    let columns: Vec<(&str, ArrayRef)> =
        vec![("many", Arc::new(column(&mut rng, 1 << 40))), ("few", Arc::new(column(&mut rng, 3))), ("one", Arc::new(column(&mut rng, 1)))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let places = |ops: Vec<Box<dyn Operator>>, runs: &[Morsel]| {
        let mut out = Out { tight: true, ..Out::default() };
        for mut op in ops {
            runs.iter().for_each(|m| out.feed(op.as_mut(), 0, m.clone()));
            out.finish(op.as_mut(), 0);
        }
        assert!(out.account.balanced() && out.account.held == 0);
        out.morsels.sort_by_key(|m| m.origin);
        let at: Vec<(Origin, usize)> = out.morsels.iter().map(|m| (m.origin, m.rows())).collect();
        (at, out.rows(&batch.schema()))
    };
    for by in [&["many"][..], &["one"], &["few", "many"]] {
        let by = by.iter().map(|c| SortKey { column: (*c).into(), ascending: *c != "few", nulls_first: false }).collect();
        let spec = Arc::new(SortSpec { name: "p/s".into(), by });
        let runs = |factory: Arc<dyn OperatorFactory>, size: usize| {
            let (mut op, mut out) = (one(&factory), Out::default());
            for split in 0..2u64 {
                let origin = Origin { split, ..Origin::default() };
                for m in cut(&batch.slice(split as usize * 70_000, 70_000), split, size, None) {
                    out.feed(op.as_mut(), 0, m);
                }
                op.split_end(0, origin, &mut out).unwrap();
            }
            assert!(out.account.balanced() && out.account.held == 0);
            out.morsels
        };
        let schema = batch.schema();
        let merged = runs(PartialSort::factory(Arc::clone(&spec), &schema, 0, [0]).unwrap(), 16_384);
        let expected = places(vec![one(&MergeSort::factory(Arc::clone(&spec), &schema, 1).unwrap())], &merged);
        for size in [16_384, 70_000] {
            let keyed = runs(PartialSort::with_keys(Arc::clone(&spec), &schema, 0, [0]).unwrap().0, size);
            let factory = range_sort(Arc::clone(&spec), &schema, 1).unwrap();
            for of in [1, 2, 3] {
                let ops = (0..of).map(|index| factory.create(Instance { index, of }).unwrap()).collect();
                assert!(places(ops, &keyed) == expected, "{spec:?} {size} {of}");
            }
        }
    }
}

#[test]
fn limits() {
    let batch = table(&mut Rng(8), 500);
    let keep = |r: usize| r.is_multiple_of(3);
    for n in [0, 1, 63, 64, 100, 166, 167, 1000] {
        for size in [1, 7, 64, 1000] {
            let factory = Limit::factory(n);
            let (mut op, mut out) = (one(&factory), Out::default());
            for m in cut(&batch, 0, size, Some(&keep)) {
                let state = op.snapshot(0).unwrap().write().unwrap();
                op = one(&Limit::factory(5));
                op.restore(&state[0]).unwrap();
                out.feed(op.as_mut(), 0, m);
            }
            let expected: Vec<String> = lines(&batch).into_iter().step_by(3).take(n as usize).collect();
            assert_eq!(lines(&out.rows(&batch.schema())), expected);
            assert!(out.account.balanced());
            assert_eq!(out.satisfied, n <= 167);
        }
    }
}

#[test]
fn inspects_conforms_and_calls_whole_batches() {
    let batch = table(&mut Rng(8), 200);
    let keep = |r: usize| r.is_multiple_of(2);
    let seen = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&seen);
    let (mut op, mut out) = (one(&Inspect::factory("i", move |b: &RecordBatch| *counter.lock().unwrap() += b.num_rows())), Out::default());
    cut(&batch, 0, 30, Some(&keep)).into_iter().for_each(|m| out.feed(op.as_mut(), 0, m));
    assert_eq!((*seen.lock().unwrap(), out.account.used, out.account.balanced()), (100, 100, true));

    let dict = encode(&batch, &DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)));
    let want: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", DataType::UInt32, false), Field::new("s", DataType::Utf8View, true)]));
    let (mut op, mut out) = (one(&Conform::factory("c", &want)), Out::default());
    cut(&dict, 0, 30, Some(&keep)).into_iter().for_each(|m| out.feed(op.as_mut(), 0, m));
    assert_eq!(out.rows(&want).num_rows(), 100);
    let strict: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("s", DataType::Utf8, false),
        Field::new("x", DataType::Utf8, false),
        Field::new("f", DataType::Int64, true),
    ]));
    let error = conform(&batch, &strict, "sink `out`").unwrap_err().to_string();
    assert!(
        error.contains("sink `out`") && error.contains("with nulls") && error.contains("no such column") && error.contains("Float64"),
        "{error}"
    );

    let items = items(20);
    let double = |b: &Batch<Item>| -> crate::Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(b.column::<Int64Array>("v").values().iter().map(|v| v * 2))))
    };
    let field = Field::new("w", DataType::Int64, false);
    let (mut op, mut out) = (one(&BatchOperator::<Item, _>::factory("b", field.clone(), double)), Out::default());
    cut(&items, 0, 7, Some(&keep)).into_iter().for_each(|m| out.feed(op.as_mut(), 0, m));
    assert_eq!(
        lines(
            &out.rows(&BatchOperator::<Item, fn(&Batch<Item>) -> crate::Result<ArrayRef>>::output_schema(field.clone(), &items.schema()))
        )[3],
        "k0|6|12"
    );
    let short = |_: &Batch<Item>| -> crate::Result<ArrayRef> { Ok(Arc::new(Int64Array::from(vec![1]))) };
    let error = one(&BatchOperator::<Item, _>::factory("p/b", field, short))
        .process(0, cut(&items, 0, 7, None).remove(0), &mut Out::default())
        .unwrap_err();
    assert!(error.to_string().contains("operator `p/b` failed: it returned 1 values for 7 rows"), "{error}");
}

pub(super) fn items(rows: i64) -> RecordBatch {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, false), Field::new("v", DataType::Int64, false)]));
    RecordBatch::try_new(
        schema,
        vec![
            Arc::new(StringArray::from_iter_values((0..rows).map(|i| format!("k{}", i % 3)))),
            Arc::new(Int64Array::from_iter_values(0..rows)),
        ],
    )
    .unwrap()
}

fn repeat<'a>(row: &View<'a, Item>) -> Box<dyn Iterator<Item = Item> + 'a> {
    let (k, v) = (row.k, row.v);
    Box::new((0..v % 5).map(move |i| Item { k: Str::from(k), v: v * 10 + i }))
}

#[test]
fn flat_maps() {
    let batch = items(3000);
    let keep = |r: usize| !r.is_multiple_of(7);
    let schema: SchemaRef = Arc::new(crate::record::schema_of::<Item>());
    let expected: Vec<String> =
        (0..3000).filter(|v| keep(*v as usize)).flat_map(|v: i64| (0..v % 5).map(move |i| format!("k{}|{}", v % 3, v * 10 + i))).collect();
    for (size, tight) in [(1, true), (7, false), (64, true), (1000, true), (3000, false)] {
        let (mut op, mut out) = (one(&FlatMap::<Item, Item, _>::factory("f", repeat)), Out { tight, ..Out::default() });
        cut(&batch, 0, size, Some(&keep)).into_iter().for_each(|m| out.feed(op.as_mut(), 0, m));
        assert_eq!(lines(&out.rows(&schema)), expected);
        assert!(out.account.balanced() && out.account.held == 0, "{:?}", out.account);
        assert!(out.morsels.iter().all(|m| m.rows() <= 4096));
    }
    // an infinite iterator goes on for as long as it is asked
    static MADE: AtomicUsize = AtomicUsize::new(0);
    fn forever<'a>(row: &View<'a, Item>) -> Box<dyn Iterator<Item = Item> + 'a> {
        let k = row.k;
        Box::new((0..).map(move |v| {
            MADE.fetch_add(1, Ordering::Relaxed);
            Item { k: k.into(), v }
        }))
    }
    let (mut op, mut out) = (one(&FlatMap::<Item, Item, _>::factory("f", forever)), Out { tight: true, ..Out::default() });
    assert_eq!(op.process(0, cut(&batch, 0, 10, None).remove(0), &mut out).unwrap(), Progress::More);
    assert_eq!(op.resume(&mut out).unwrap(), Progress::More);
    assert_eq!(lines(&out.rows(&schema)).last().unwrap(), "k0|8191");
    fn broken<'a>(row: &View<'a, Item>) -> Box<dyn Iterator<Item = Item> + 'a> {
        let v = row.v;
        Box::new(std::iter::from_fn(move || if v == 13 { panic!("thirteen") } else { None }))
    }
    let error = one(&FlatMap::<Item, Item, _>::factory("p/f", broken))
        .process(0, cut(&batch, 2, 50, Some(&keep)).remove(0), &mut Out::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("operator `p/f` panicked: thirteen") && error.contains("row 13 of split 2"), "{error}");
}
