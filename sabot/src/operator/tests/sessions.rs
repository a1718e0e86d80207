//! Sessions, alone and on a stream, against a naive model.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::aggregate::{Run, run};
use super::{Out, Rng, cut, function, lines};
use crate::operator::aggregate::*;
use crate::operator::*;
use crate::plan::Span;

const UNITS: [(TimeUnit, i64); 3] = [(TimeUnit::Millisecond, 1_000), (TimeUnit::Microsecond, 1), (TimeUnit::Nanosecond, 1)];

fn schema(unit: TimeUnit) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("t", DataType::Timestamp(unit, None), false),
        Field::new("i", DataType::Int64, false),
        Field::new("x", DataType::Float64, false),
    ]))
}

/// Rows with times of the unit, from `from` to `from + spread`.
fn rows(rng: &mut Rng, n: usize, (from, spread): (i64, u64), unit: TimeUnit) -> RecordBatch {
    let times = Int64Array::from((0..n).map(|_| from + rng.below(spread) as i64).collect::<Vec<_>>());
    let schema = schema(unit);
    let times = arrow_cast::cast(&times, schema.field(1).data_type()).unwrap();
    let key = |v: u64| (v < 7).then_some(if v > 3 { 0 } else { v as i64 });
    RecordBatch::try_new(
        schema,
        vec![
            Arc::new(Int64Array::from((0..n).map(|_| key(rng.below(8))).collect::<Vec<_>>())),
            times,
            Arc::new(Int64Array::from((0..n as i64).collect::<Vec<_>>())),
            Arc::new(Float64Array::from((0..n).map(|_| rng.below(1_000_000) as f64 / 7.0 - 5e4).collect::<Vec<_>>())),
        ],
    )
    .unwrap()
}

/// A gap in microseconds.
fn spec(gap: i64) -> Arc<AggregateSpec> {
    Arc::new(AggregateSpec {
        name: "p/a".into(),
        keys: vec!["k".into()],
        window: Some(EventWindow { column: "t".into(), span: Span::Session { gap }, offset: 0 }),
        functions: vec![
            function("rows", &[], count()),
            function("total", &["i"], sum::<i64>()),
            function("first", &["i", "t"], first::<i64>(true)),
            function("all", &["i", "t"], collect::<i64>(true, false)),
            function("x", &["x"], sum::<f64>()),
        ],
    })
}

type Session = (Option<i64>, i64, i64, u64, i64, i64, Vec<i64>);

/// Sessions of rows with a gap in units, by key and start. Rows of equal time stay in their order.
fn model(batches: &[RecordBatch], gap: i64) -> Vec<Session> {
    let mut by: BTreeMap<Option<i64>, Vec<(i64, i64)>> = BTreeMap::new();
    for batch in batches {
        let keys = batch.column(0).as_primitive::<Int64Type>();
        let times = arrow_cast::cast(batch.column(1), &DataType::Int64).unwrap();
        for row in 0..batch.num_rows() {
            let key = keys.is_valid(row).then(|| keys.value(row));
            by.entry(key)
                .or_default()
                .push((times.as_primitive::<Int64Type>().value(row), batch.column(2).as_primitive::<Int64Type>().value(row)));
        }
    }
    let mut out = Vec::new();
    for (key, mut rows) in by {
        rows.sort_by_key(|r| r.0);
        for session in rows.chunk_by(|a, b| b.0 - a.0 < gap) {
            let ids: Vec<i64> = session.iter().map(|r| r.1).collect();
            out.push((key, session[0].0, session[session.len() - 1].0 + gap, ids.len() as u64, ids.iter().sum(), ids[0], ids));
        }
    }
    out
}

fn sessions(batch: &RecordBatch) -> Vec<Session> {
    let int = |column: usize| arrow_cast::cast(batch.column(column), &DataType::Int64).unwrap();
    let (keys, starts, ends, total, first) = (int(0), int(1), int(2), int(4), int(5));
    let value = |a: &ArrayRef, row: usize| a.as_primitive::<Int64Type>().value(row);
    let mut out: Vec<Session> = (0..batch.num_rows())
        .map(|r| {
            let all = batch.column(6).as_list::<i32>().value(r).as_primitive::<Int64Type>().values().to_vec();
            let rows = batch.column(3).as_primitive::<UInt64Type>().value(r);
            let key = keys.is_valid(r).then(|| value(&keys, r));
            (key, value(&starts, r), value(&ends, r), rows, value(&total, r), value(&first, r), all)
        })
        .collect();
    out.sort();
    out
}

#[test]
fn equal_the_model_however_they_are_run() {
    let mut rng = Rng(11);
    for (unit, scale) in UNITS {
        let splits: Vec<RecordBatch> =
            [300, 1, 700, 0, 64].iter().enumerate().map(|(i, n)| rows(&mut rng, *n, (i as i64 * 3000 - 4000, 9000), unit)).collect();
        for gap in [1, 20, 130, 20_000] {
            let spec = spec(gap * scale);
            let base = Run { spec: &spec, size: 1000, threads: 1, finals: 1, keep: None, restart: None, max_groups: 1 << 18, spill: None };
            let first = run(&base, &splits);
            let units = if unit == TimeUnit::Nanosecond { gap * 1000 } else { gap };
            assert_eq!(sessions(&first), model(&splits, units), "{unit:?} {gap}");
            for (size, threads, finals, restart) in [(1, 3, 2, None), (7, 1, 3, None), (64, 2, 1, Some(2)), (7, 3, 3, Some(5))] {
                let again = run(&Run { size, threads, finals, restart, ..base }, &splits);
                assert_eq!(lines(&again), lines(&first), "{unit:?} {gap} {size} {threads} {finals} {restart:?}: values, floats and order");
            }
        }
    }
}

fn operators(spec: &Arc<AggregateSpec>, unit: TimeUnit) -> (Box<dyn Operator>, Box<dyn Operator>) {
    let one = Instance { index: 0, of: 1 };
    let partial = PartialAggregate::prompt(Arc::clone(spec), &schema(unit)).unwrap().create(one).unwrap();
    (partial, FinalAggregate::factory(Arc::clone(spec), &schema(unit), 2).unwrap().create(one).unwrap())
}

/// A microsecond's event time, as a watermark sees it.
fn micros(time: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Millisecond => time * 1_000,
        TimeUnit::Nanosecond => time.div_euclid(1_000),
        _ => time,
    }
}

/// A session leaves with the first watermark that has reached its end, not later, and its result is not behind the watermark
/// that went on before it, with restarts all along.
#[test]
fn leave_when_time_has_reached_their_end() {
    for (seed, (unit, scale)) in (1..).zip(UNITS) {
        for gap in [3, 40, 700] {
            let mut rng = Rng(seed * 77 + gap as u64);
            let spec = spec(gap * scale);
            let gap = if unit == TimeUnit::Nanosecond { gap * 1000 } else { gap };
            let (mut partial, mut last) = operators(&spec, unit);
            let (mut a, mut b) = (Out::default(), Out::default());
            let step = if unit == TimeUnit::Nanosecond { 50_000 } else { 50 };
            let (mut all, mut reported) = (Vec::new(), i64::MIN);
            for round in 0..60 {
                // rows come up to two steps late
                let batch = rows(&mut rng, 6, (round * step, 3 * step as u64), unit);
                let mut morsel = cut(&batch, 0, 10, None).remove(0);
                morsel.origin.row = round as u64 * 6;
                all.push(batch);
                a.feed(partial.as_mut(), 0, morsel);
                let watermark = micros((round + 1) * step, unit);
                partial.watermark(0, watermark, &mut a).unwrap();
                std::mem::take(&mut a.morsels).into_iter().for_each(|m| b.feed(last.as_mut(), 0, m));
                let before = b.morsels.len();
                last.watermark(0, watermark, &mut b).unwrap();
                for (.., end, _, _, _, _) in sessions(&super::concat(&spec.output_schema(&schema(unit)).unwrap(), &b.morsels[before..])) {
                    assert!(micros(end, unit) > reported, "a result behind the watermark");
                }
                reported = reported.max(watermark.min(last.hold()));
                assert!(reported >= watermark - 1, "sessions hold time back as far as they must only");
                let over = |s: &Session| micros(s.2, unit) + i64::from(unit == TimeUnit::Nanosecond && s.2 % 1000 > 0) <= watermark;
                let expected: Vec<Session> = model(&all, gap).into_iter().filter(over).collect();
                assert_eq!(sessions(&b.rows(&spec.output_schema(&schema(unit)).unwrap())), expected, "{unit:?} {gap} {round}");
                if round % 3 == 0 {
                    let states = (partial.snapshot(1).unwrap().write().unwrap(), last.snapshot(1).unwrap().write().unwrap());
                    (partial, last) = operators(&spec, unit);
                    states.0.iter().for_each(|s| partial.restore(s).unwrap());
                    states.1.iter().for_each(|s| last.restore(s).unwrap());
                    // given up, and taken over again
                    if let Some(some) = states.1.get(round as usize % states.1.len().max(1)) {
                        last.release(some.group);
                        last.restore(some).unwrap();
                    }
                }
            }
            a.finish(partial.as_mut(), 0);
            b.finish(last.as_mut(), 0);
            assert_eq!(sessions(&b.rows(&spec.output_schema(&schema(unit)).unwrap())), model(&all, gap));
            assert!(a.account.balanced() && b.account.balanced());
            assert_eq!((a.account.held, b.account.held, b.account.late), (0, 0, 0));
        }
    }
}

/// What is held does not grow with the length of a session, nor with the number of keys that were there once.
#[test]
fn hold_open_sessions_only() {
    let mut spec = AggregateSpec::clone(&spec(100));
    spec.functions.truncate(2);
    let spec = Arc::new(spec);
    let unit = TimeUnit::Microsecond;
    let (mut partial, mut last) = operators(&spec, unit);
    let (mut a, mut b) = (Out::default(), Out::default());
    let mut sizes = Vec::new();
    for round in 0..4000i64 {
        // a key that goes on and on, and two that are never seen again
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![-1, round * 2, round * 2 + 1])),
            Arc::new(TimestampMicrosecondArray::from(vec![round * 60; 3])),
            Arc::new(Int64Array::from(vec![1; 3])),
            Arc::new(Float64Array::from(vec![0.0; 3])),
        ];
        let mut morsel = cut(&RecordBatch::try_new(schema(unit), columns).unwrap(), 0, 10, None).remove(0);
        morsel.origin.row = round as u64 * 3;
        a.feed(partial.as_mut(), 0, morsel);
        std::mem::take(&mut a.morsels).into_iter().for_each(|m| b.feed(last.as_mut(), 0, m));
        partial.watermark(0, round * 60, &mut a).unwrap();
        last.watermark(0, round * 60, &mut b).unwrap();
        sizes.push(last.held_bytes() + partial.held_bytes());
    }
    let most = |range: std::ops::Range<usize>| sizes[range].iter().copied().max().unwrap();
    assert!(most(3000..4000) <= most(500..1500) * 2, "{} to {} bytes", most(500..1500), most(3000..4000));
    assert!(b.account.rows_out >= 7900 && b.account.held < 4020, "{:?}", b.account);
}

/// A plan travels as JSON.
#[test]
fn windows_in_a_plan_read_as_they_were_written() {
    use crate::plan::Op;
    let windows = [Span::Aligned { size: 7, slide: 2 }, Span::Session { gap: 9 }];
    let aggregate = |window| Op::Aggregate { window, emit: Default::default(), functions: Vec::new() };
    let told = [(None, Some(3)), (Some(4), None)].map(|(disorder, max_step)| Op::Watermark { disorder, max_step });
    let ops =
        windows.map(Op::Window).into_iter().chain(windows.map(Some).map(aggregate)).chain(told).chain([aggregate(None), Op::LateRows]);
    for op in ops {
        let text = serde_json::to_string(&op).unwrap();
        assert_eq!(serde_json::from_str::<Op>(&text).unwrap(), op, "{text}");
    }
}
