//! Overlapping windows: merged before they are due or not, and partial states that are sent before a window ends.

use std::sync::Arc;

use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{Out, Rng, cut, function, lines};
use crate::kernel::Morsel;
use crate::operator::aggregate::*;
use crate::operator::*;
use crate::plan::Span;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("s", DataType::Utf8, false),
        Field::new("t", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        Field::new("x", DataType::Float64, false),
    ]))
}

/// Rows by time, about ten in a millisecond, of so many keys.
fn rows(rng: &mut Rng, rows: usize, keys: u64) -> RecordBatch {
    let k: Int64Array =
        (0..rows).map(|_| (rng.below(30) > 0).then(|| rng.below(keys) as i64 * if keys > 100 { 1 } else { 1 << 40 })).collect();
    let s = StringArray::from((0..rows).map(|_| format!("s{}", rng.below(3))).collect::<Vec<_>>());
    let t = TimestampMillisecondArray::from((0..rows).map(|row| row as i64 / 10).collect::<Vec<_>>());
    let x = Float64Array::from((0..rows).map(|_| rng.below(1_000_000) as f64 / 7.0).collect::<Vec<_>>());
    RecordBatch::try_new(schema(), vec![Arc::new(k), Arc::new(s), Arc::new(t), Arc::new(x)]).unwrap()
}

fn spec(keys: &[&str], size: i64, slide: i64) -> Arc<AggregateSpec> {
    Arc::new(AggregateSpec {
        name: "p/a".into(),
        keys: keys.iter().map(|s| (*s).into()).collect(),
        window: Some(EventWindow { column: "t".into(), span: Span::Aligned { size: size * 1000, slide: slide * 1000 }, offset: 0 }),
        functions: vec![
            function("rows", &[], count()),
            function("x", &["x"], sum::<f64>()),
            function("high", &["k"], max::<Option<i64>>()),
        ],
    })
}

/// The results, in order. With watermarks, each of the last time that came; the second phase may be restarted now and then.
fn run(spec: &Arc<AggregateSpec>, input: &RecordBatch, size: usize, times: bool, restarts: bool) -> Vec<String> {
    let one = Instance { index: 0, of: 1 };
    let second = FinalAggregate::factory(Arc::clone(spec), &schema(), 2).unwrap();
    let mut op = PartialAggregate::passing(Arc::clone(spec), &schema()).unwrap().create(one).unwrap();
    let mut last = second.create(one).unwrap();
    let (mut a, mut b) = (Out::default(), Out::default());
    for (i, morsel) in cut(input, 0, size, None).into_iter().enumerate() {
        let (rows, from) = (morsel.rows(), morsel.origin.row as usize);
        a.feed(op.as_mut(), 0, morsel);
        if !times {
            continue;
        }
        // the last millisecond may go on
        let time = (from + rows) as i64 / 10 * 1000;
        op.watermark(0, time, &mut a).unwrap();
        std::mem::take(&mut a.morsels).into_iter().for_each(|m| b.feed(last.as_mut(), 0, m));
        last.watermark(0, time, &mut b).unwrap();
        assert!(last.hold() >= time - 1);
        if restarts && i % 7 == 3 {
            let states = last.snapshot(1).unwrap().write().unwrap();
            last = second.create(one).unwrap();
            states.iter().for_each(|s| last.restore(s).unwrap());
        }
    }
    a.finish(op.as_mut(), 0);
    std::mem::take(&mut a.morsels).into_iter().for_each(|m| b.feed(last.as_mut(), 0, m));
    b.finish(last.as_mut(), 0);
    assert!(a.account.balanced() && b.account.balanced());
    assert_eq!((a.account.held, b.account.held, b.account.late), (0, 0, 0));
    lines(&b.rows(&spec.output_schema(&schema()).unwrap()))
}

/// Sums of floats to the last bit, and the order of rows, are those of all windows at once at the end.
#[test]
fn windows_merged_ahead_are_those_at_the_end() {
    let mut rng = Rng(5);
    for (keys, of) in [(vec!["k"], 40), (vec!["k"], 3000), (vec!["s"], 40), (vec!["s", "k"], 40), (vec![], 40)] {
        let input = rows(&mut rng, 20_000, of);
        for (size, slide) in [(500, 100), (250, 100), (300, 299)] {
            let spec = spec(&keys, size, slide);
            let whole = run(&spec, &input, 1000, false, false);
            assert!(whole.len() > 5);
            // a few windows at a time, one, and less than one
            for morsel in [3000, 1000, 170] {
                for restarts in [false, true] {
                    let got = run(&spec, &input, morsel, true, restarts);
                    assert_eq!(got, whole, "{keys:?} {of} {size} {slide} {morsel} {restarts}");
                }
            }
        }
    }
}

/// What is sent before the end of the window: the rows of each batch.
fn sent_early(key: impl Fn(u64) -> i64, size: usize) -> Vec<usize> {
    let n = 200_000;
    let columns: Vec<ArrayRef> = vec![
        Arc::new((0..n).map(|row| Some(key(row))).collect::<Int64Array>()),
        Arc::new(StringArray::from_iter_values((0..n).map(|_| "s"))),
        Arc::new(TimestampMillisecondArray::from_iter_values((0..n).map(|_| 5))),
        Arc::new(Float64Array::from_iter_values((0..n).map(|row| row as f64))),
    ];
    let input = RecordBatch::try_new(schema(), columns).unwrap();
    let spec = spec(&["k"], 300, 100);
    let mut op = PartialAggregate::passing(spec, &schema()).unwrap().create(Instance { index: 0, of: 1 }).unwrap();
    let mut out = Out::default();
    cut(&input, 0, size, None).into_iter().for_each(|m| out.feed(op.as_mut(), 0, m));
    op.watermark(0, 50_000, &mut out).unwrap();
    let early = out.morsels.iter().map(Morsel::rows).collect();
    op.watermark(0, 100_000, &mut out).unwrap();
    assert!(out.account.balanced() && out.account.held == 0);
    early
}

#[test]
fn keys_that_pass_by_are_sent_before_the_window_ends() {
    // eight rows each, of a hundred that are open at a time
    let passing = |row: u64| (row / 8 + row.wrapping_mul(0x9e37_79b9) % 100) as i64;
    let early = sent_early(passing, 1000);
    assert!(early.len() >= 2 && early.iter().sum::<usize>() > 12_000, "{early:?}");
    // at places that depend on nothing but the rows
    assert_eq!(sent_early(passing, 177), early);
    // few keys, many that come again and again, and those that come once
    for keys in [5_000, 20_000, 30_000] {
        assert_eq!(sent_early(|row| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as i64 % keys, 1000), [0usize; 0], "{keys}");
    }
    assert_eq!(sent_early(|row| row as i64, 1000), [0usize; 0]);
}
