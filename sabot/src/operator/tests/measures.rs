use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::aggregate::{Run, run};
use super::{Rng, encode, function, lines};
use crate::kernel::hash::hash_integer;
use crate::operator::aggregate::digest::{Digest, PENDING};
use crate::operator::aggregate::sketch::{EXACT, Sketch};
use crate::operator::aggregate::*;
use crate::operator::{AggregateSpec, EventWindow, Kept};
use crate::plan::Span;
use crate::record::{Decimal, Dict, List, Micros, Str, Timestamp};

/// Distinct hashes as the engine makes them.
fn hashes(from: i64, to: i64) -> impl Iterator<Item = u64> {
    (from..to).map(hash_integer)
}

#[test]
fn sketches_count() {
    for n in [0, 1, 2, 100, EXACT as i64] {
        let mut sketch = Sketch::default();
        (0..20).for_each(|_| hashes(0, n).for_each(|h| sketch.add(h)));
        assert_eq!(sketch.estimate(), n as u64, "few values are counted exactly");
    }
    for n in [257, 1000, 10_000, 100_000] {
        let mut sketch = Sketch::default();
        hashes(0, n).for_each(|h| sketch.add(h));
        let off = sketch.estimate() as f64 / n as f64 - 1.0;
        assert!(off.abs() < 3.0 * 0.0163, "{n}: off by {off}");
    }
}

#[test]
fn sketches_merge_in_any_order() {
    let bytes = |sketch: &Sketch| {
        let mut out = Vec::new();
        sketch.write(&mut out);
        out
    };
    for (a, b) in [(10, 20), (200, 5), (400, 3), (300, 300), (5000, 100), (5000, 9000)] {
        let mut whole = Sketch::default();
        hashes(0, a).chain(hashes(a / 2, a / 2 + b)).for_each(|h| whole.add(h));
        let (mut x, mut y) = (Sketch::default(), Sketch::default());
        hashes(0, a).for_each(|h| x.add(h));
        hashes(a / 2, a / 2 + b).for_each(|h| y.add(h));
        let (mut xy, mut yx) = (x.clone(), y.clone());
        xy.merge(&bytes(&y));
        yx.merge(&bytes(&x));
        for one in [xy, yx] {
            assert_eq!((bytes(&one), one.estimate()), (bytes(&whole), whole.estimate()), "{a} {b}");
        }
    }
}

/// How far the rank of `value` is from the fraction `q`.
fn rank_error(sorted: &[f64], value: f64, q: f64) -> f64 {
    let below = sorted.partition_point(|v| *v < value) as f64 / sorted.len() as f64;
    let upto = sorted.partition_point(|v| *v <= value) as f64 / sorted.len() as f64;
    (below - q).max(q - upto).max(0.0)
}

#[test]
fn digests_find_quantiles() {
    let mut rng = Rng(77);
    let n = 30_000usize;
    let mut random: Vec<f64> = (0..n).map(|_| rng.below(1 << 40) as f64).collect();
    let long_tail = random.iter().map(|v| -(v / (1u64 << 40) as f64).max(1e-12).ln() * 1e6).collect::<Vec<_>>();
    let few = random.iter().map(|v| f64::from((*v as u64 % 7) as u32)).collect::<Vec<_>>();
    let mostly_one = random.iter().map(|v| if v % 10.0 < 9.0 { 1.0 } else { *v }).collect::<Vec<_>>();
    let ascending: Vec<f64> = (0..n).map(|i| i as f64).collect();
    let descending: Vec<f64> = (0..n).rev().map(|i| i as f64).collect();
    let zigzag: Vec<f64> = (0..n).map(|i| if i % 2 == 0 { i as f64 } else { -(i as f64) * 1e9 }).collect();
    random.truncate(n);
    for (name, values) in [
        ("random", random),
        ("long tail", long_tail),
        ("few", few),
        ("mostly one", mostly_one),
        ("ascending", ascending),
        ("descending", descending),
        ("zigzag", zigzag),
    ] {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        for parts in [1, 40] {
            let mut whole = Digest::default();
            for part in values.chunks(n / parts) {
                let mut one = Digest::default();
                part.iter().for_each(|v| one.add(*v));
                let mut bytes = Vec::new();
                one.write(&mut bytes);
                whole.merge(&bytes);
            }
            for q in [0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0] {
                let got = whole.quantile(q).unwrap();
                let error = rank_error(&sorted, got, q);
                let bound = 0.02 * (q * (1.0 - q)).sqrt() + 2.0 / n as f64;
                assert!(error <= bound, "{name} in {parts} parts: at {q} the rank is off by {error}, more than {bound}");
            }
            assert_eq!((whole.quantile(0.0), whole.quantile(1.0)), (sorted.first().copied(), sorted.last().copied()), "{name}");
            assert!(whole.bytes() < 10 << 10, "{name}: {} bytes", whole.bytes());
        }
    }
}

#[test]
fn small_digests_are_exact_and_restored_as_they_were() {
    let mut digest = Digest::default();
    assert_eq!(digest.quantile(0.5), None);
    digest.add(f64::NAN);
    assert_eq!(digest.quantile(0.5), None, "NaN is no value");
    (0..PENDING as i64 - 1).rev().for_each(|v| digest.add(v as f64));
    assert_eq!(digest.quantile(0.5), Some(255.0));
    assert_eq!(digest.quantile(0.999), Some(510.0 * 0.999));
    for more in [0, 1, 700, 5000] {
        (0..more).for_each(|v| digest.add(f64::from(v)));
        let (mut bytes, mut again) = (Vec::new(), Digest::default());
        digest.write(&mut bytes);
        again.merge(&bytes);
        let mut one_more = digest.clone();
        [&mut again, &mut one_more].into_iter().for_each(|d| (0..600).for_each(|v| d.add(f64::from(v) / 3.0)));
        let bits = |d: &Digest| [0.1, 0.5, 0.9].map(|q| d.quantile(q).unwrap().to_bits());
        assert_eq!(bits(&again), bits(&one_more), "a restart changes nothing");
    }
    let mut ends = Digest::default();
    [f64::INFINITY, 1.0, f64::NEG_INFINITY].into_iter().cycle().take(3000).for_each(|v| ends.add(v));
    assert_eq!((ends.quantile(0.0), ends.quantile(0.5), ends.quantile(1.0)), (Some(f64::NEG_INFINITY), Some(1.0), Some(f64::INFINITY)));
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), false),
        Field::new("x", DataType::Float64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("d", DataType::Decimal128(12, 3), true),
        Field::new("b", DataType::Boolean, true),
        Field::new("l", DataType::List(Arc::new(Field::new_list_field(DataType::Int64, false))), false),
    ]))
}

fn split(rng: &mut Rng, rows: usize) -> RecordBatch {
    let mut opt = |n: u64| (rng.below(6) > 0).then(|| rng.below(n));
    let mut lists = builder::ListBuilder::new(builder::Int64Builder::new()).with_field(Field::new_list_field(DataType::Int64, false));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from((0..rows).map(|_| opt(9).map(|v| if v > 4 { 0 } else { v as i64 })).collect::<Vec<_>>())),
        Arc::new(TimestampMicrosecondArray::from((0..rows).map(|_| opt(300).unwrap_or(0) as i64).collect::<Vec<_>>())),
        Arc::new(Float64Array::from((0..rows).map(|_| opt(40).map(|v| v as f64 / 8.0)).collect::<Vec<_>>())),
        Arc::new(StringArray::from((0..rows).map(|_| opt(50).map(|v| format!("{v} and some more text"))).collect::<Vec<_>>())),
        Arc::new(
            Decimal128Array::from((0..rows).map(|_| opt(500).map(i128::from)).collect::<Vec<_>>())
                .with_data_type(DataType::Decimal128(12, 3)),
        ),
        Arc::new(BooleanArray::from((0..rows).map(|_| opt(2).map(|v| v == 1)).collect::<Vec<_>>())),
        Arc::new({
            (0..rows).for_each(|_| {
                (0..opt(4).unwrap_or(0)).for_each(|v| lists.values().append_value(v as i64));
                lists.append(true);
            });
            lists.finish()
        }),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn spec(keys: &[&str], window: Option<i64>) -> Arc<AggregateSpec> {
    Arc::new(AggregateSpec {
        name: "p/a".into(),
        keys: keys.iter().map(|s| (*s).into()).collect(),
        window: window.map(|size| EventWindow { column: "t".into(), span: Span::Aligned { size, slide: size }, offset: 0 }),
        functions: vec![
            function("var", &["x"], spread::<Option<f64>>(Spread::Var)),
            function("dev", &["d"], spread::<Option<Decimal<12, 3>>>(Spread::StddevPop)),
            function("first", &["s"], first::<Option<Str>>(false)),
            function("last", &["d", "t"], last::<Option<Decimal<12, 3>>>(true)),
            function("first_dict", &["s", "t"], first::<Option<Dict<Str>>>(true)),
            function("last_list", &["l"], last::<Option<List<i64>>>(false)),
            function("words", &["s"], count_distinct::<Option<Str>>()),
            function("floats", &["x"], count_distinct::<Option<f64>>()),
            function("cents", &["d"], count_distinct::<Option<Decimal<12, 3>>>()),
            function("about", &["s"], approx_count_distinct::<Option<Str>>()),
            function("about_t", &["t"], approx_count_distinct::<Timestamp<Micros>>()),
            function("q", &["x"], quantile::<Option<f64>>(0.9)),
            function("m", &["d"], median::<Option<Decimal<12, 3>>>()),
            function("mt", &["t"], median::<Timestamp<Micros>>()),
            function("near", &["x"], approx_quantile::<Option<f64>>(0.3)),
            function("any", &["b"], any::<Option<bool>>()),
            function("all", &["b"], all::<Option<bool>>()),
            function("list", &["s"], collect::<Option<Str>>(false, true)),
            function("dicts", &["s"], collect::<Option<Dict<Str>>>(false, true)),
            function("list_t", &["x", "t"], collect::<Option<f64>>(true, true)),
        ],
    })
}

#[test]
fn measures_are_the_same_however_they_are_run() {
    let mut rng = Rng(4);
    let splits: Vec<RecordBatch> = [500, 0, 1300, 1, 90].iter().map(|n| split(&mut rng, *n)).collect();
    let keep = |row: usize| row % 7 != 3;
    for (keys, window) in [(vec!["k"], None), (vec![], None), (vec!["k"], Some(100)), (vec!["d"], None)] {
        let spec = spec(&keys, window);
        for keep in [None, Some(&keep as &dyn Fn(usize) -> bool)] {
            let base = Run { spec: &spec, size: 1000, threads: 1, finals: 1, keep, restart: None, max_groups: 1 << 18, spill: None };
            let first = run(&base, &splits);
            for (size, threads, finals, restart) in
                [(1, 3, 2, None), (7, 1, 3, None), (64, 2, 1, Some(2)), (1000, 5, 4, Some(1)), (7, 3, 3, Some(5))]
            {
                let finals = if keys.is_empty() { 1 } else { finals };
                let again =
                    run(&Run { size, threads, finals, restart: restart.map(|r| if keys.is_empty() { 1 } else { r }), ..base }, &splits);
                assert_eq!(lines(&again), lines(&first), "{keys:?} {window:?} {size} {threads} {finals} {restart:?}");
            }
            for to in [DataType::Utf8View, DataType::LargeUtf8, DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))] {
                let encoded: Vec<RecordBatch> = splits.iter().map(|b| encode(b, &to)).collect();
                let finals = if keys.is_empty() { 1 } else { 2 };
                assert_eq!(lines(&run(&Run { threads: 2, finals, size: 100, ..base }, &encoded)), lines(&first), "{to}");
                if to == DataType::Utf8View && keep.is_none() {
                    let spilled = Run { threads: 2, finals, size: 100, spill: Some(1), ..base };
                    assert_eq!(lines(&run(&spilled, &encoded)), lines(&first), "{keys:?} {window:?} spilled");
                }
            }
        }
    }
}

#[test]
fn variance_is_stable() {
    // the naive sum of squares has no correct digit here
    let values: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 4)).collect();
    let column: ArrayRef = Arc::new(Float64Array::from(values));
    let (mut one, mut two, mut both) = {
        let factory = spread::<f64>(Spread::VarPop);
        (factory.create(), factory.create(), factory.create())
    };
    [&mut one, &mut two, &mut both].into_iter().for_each(|a| a.resize(1));
    one.update(&[0; 300], Kept::Range(0, 300), std::slice::from_ref(&column)).unwrap();
    two.update(&[0; 700], Kept::Range(300, 1000), std::slice::from_ref(&column)).unwrap();
    for part in [one, two] {
        both.merge(&[0], Kept::Range(0, 1), &part.state(&[0]).unwrap()).unwrap();
    }
    let got = both.finish(&[0]).unwrap().as_primitive::<types::Float64Type>().value(0);
    assert!((got - 1.25).abs() < 1e-9, "{got}");
}

#[test]
fn held_bytes_follow_what_is_held() {
    let mut rng = Rng(12);
    let batch = split(&mut rng, 4000);
    let spec = spec(&["k"], None);
    for f in &spec.functions {
        let columns: Vec<ArrayRef> = f.inputs.iter().map(|i| Arc::clone(batch.column_by_name(i).unwrap())).collect();
        let groups: Vec<u32> = (0..4000).map(|i| i % 10).collect();
        let mut a = f.factory.create();
        a.resize(10);
        let empty = a.bytes();
        (0..5).for_each(|_| a.update(&groups, Kept::Range(0, 4000), &columns).unwrap());
        let full = a.bytes();
        match f.name.as_str() {
            "q" | "m" | "mt" | "list" | "dicts" | "list_t" => assert!(full - empty >= 4000 * 4, "{}: {full}", f.name),
            "last" | "first" | "first_dict" | "last_list" => {
                assert!(full < 1 << 20, "{}: rows that gave way are forgotten: {full}", f.name)
            }
            _ => assert!(full < 1 << 18, "{}: {full}", f.name),
        }
        a.resize(0);
        a.resize(1);
        assert!(a.state(&[0]).is_ok() && a.finish(&[0]).is_ok(), "{}", f.name);
    }
}
