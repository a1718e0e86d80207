use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::hand::{Before, Item, Running};
use super::{Out, Rng, cut, lines};
use crate::kernel::hash::{KEY_GROUPS, hash_columns, instance_of, key_group};
use crate::kernel::{Morsel, Selection};
use crate::operator::keyed::keyed_schema;
use crate::operator::*;
use crate::record::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, false),
        Field::new("v", DataType::Int64, false),
        Field::new("t", DataType::Timestamp(TimeUnit::Millisecond, None), false),
    ]))
}
fn table(rng: &mut Rng, rows: usize) -> RecordBatch {
    let keys: Vec<String> = (0..rows).map(|_| format!("some key number {}", rng.below(20) * rng.below(2))).collect();
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(StringArray::from(keys)),
            Arc::new(Int64Array::from_iter_values((0..rows).map(|_| rng.below(100) as i64))),
            Arc::new(TimestampMillisecondArray::from_iter_values((0..rows).map(|_| rng.below(50) as i64))),
        ],
    )
    .unwrap()
}

/// Every second row of a key: count, sum and time so far.
fn second<'a>(state: &mut Running, ctx: &mut KeyCtx, row: &View<'a, Item>, make: Make<'a>) -> Option<Slot<'a, Str>> {
    state.count += 1;
    state.sum += row.v;
    (state.count % 2 == 0).then(|| col::<Str, _>(make, format!("{} {} {} of {:?}", row.k, state.count, state.sum, ctx.event_time())))
}

fn spec(time: bool) -> KeyedSpec {
    KeyedSpec {
        name: "p/k".into(),
        keys: vec!["k".into()],
        event_time: time.then(|| "t".into()),
        output: "o".into(),
        node: 4,
        offset: 0,
        ttl: None,
    }
}

fn create(time: bool, of: usize) -> Vec<Box<dyn Operator>> {
    let factory = Keyed::<Item, Running, NoSide, Str, _>::factory(spec(time), &schema(), second).unwrap();
    (0..of).map(|index| factory.create(Instance { index, of }).unwrap()).collect()
}

/// `watermarks`: after which splits a watermark is sent, and which.
fn run(
    splits: &[RecordBatch],
    time: bool,
    size: usize,
    mut of: usize,
    restart: Option<usize>,
    watermarks: &[(usize, i64)],
    keep: &dyn Fn(usize) -> bool,
) -> Vec<String> {
    let (mut ops, mut out) = (create(time, of), Out::default());
    for (i, split) in splits.iter().enumerate() {
        for morsel in cut(split, i as u64, size, Some(keep)) {
            let hashes = hash_columns(&morsel.batch, &["k".into()]).unwrap();
            for (index, op) in ops.iter_mut().enumerate() {
                let kept = morsel.selection.as_ref().unwrap();
                let mut words = vec![0u64; hashes.len().div_ceil(64)];
                kept.rows()
                    .filter(|r| instance_of(key_group(hashes[*r], KEY_GROUPS), KEY_GROUPS, of) == index)
                    .for_each(|r| words[r / 64] |= 1 << (r % 64));
                out.feed(op.as_mut(), 0, Morsel { selection: Some(Selection::new(words)), ..morsel.clone() });
            }
        }
        for (_, t) in watermarks.iter().filter(|(after, _)| *after == i) {
            for op in &mut ops {
                op.watermark(0, *t, &mut out).unwrap();
                assert!(op.hold() >= *t);
            }
        }
        if let (Some(after), true) = (restart, i == splits.len() / 2) {
            let states: Vec<GroupState> = ops.iter_mut().flat_map(|op| op.snapshot(1).unwrap().write().unwrap()).collect();
            of = after;
            ops = create(time, of);
            for state in states.iter().filter(|s| s.group == SHARED) {
                ops.iter_mut().for_each(|op| op.restore(state).unwrap());
            }
            for state in states.iter().filter(|s| s.group != SHARED) {
                let op = &mut ops[instance_of(state.group, KEY_GROUPS, of)];
                op.restore(state).unwrap();
                op.release(state.group);
                op.restore(state).unwrap();
            }
        }
    }
    ops.iter_mut().for_each(|op| out.finish(op.as_mut(), 0));
    assert!(out.account.balanced() && out.account.held == 0, "{:?}", out.account);
    let schema = keyed_schema(&spec(time), Str::data_type(), false, &schema());
    lines(&out.rows(&schema))
}

fn model(splits: &[RecordBatch], time: bool, keep: &dyn Fn(usize) -> bool) -> Vec<String> {
    let mut rows = Vec::new();
    for b in splits {
        let text = lines(b);
        for r in (0..b.num_rows()).filter(|r| keep(*r)) {
            rows.push((
                b.column(2).as_primitive::<TimestampMillisecondType>().value(r),
                b.column(0).as_string::<i32>().value(r).to_owned(),
                b.column(1).as_primitive::<Int64Type>().value(r),
                text[r].clone(),
            ));
        }
    }
    if time {
        rows.sort_by_key(|r| r.0);
    }
    let mut states: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut out = Vec::new();
    for (t, k, v, text) in rows {
        let s = states.entry(k.clone()).or_default();
        s.0 += 1;
        s.1 += v;
        if s.0 % 2 == 0 {
            out.push(format!("{text}|{k} {} {} of {:?}", s.0, s.1, time.then_some(t * 1000)));
        }
    }
    out
}

#[test]
fn sees_rows_in_order_however_it_is_run() {
    let mut rng = Rng(12);
    let splits: Vec<RecordBatch> = [300, 0, 1, 500, 64].iter().map(|n| table(&mut rng, *n)).collect();
    let keep = |r: usize| r % 4 != 1;
    for size in [1, 7, 64, 1000] {
        let mut a = run(&splits, false, size, 1, None, &[], &keep);
        assert_eq!(a, model(&splits, false, &keep), "on one instance in source order");
        let mut b = run(&splits, false, size, 3, Some(2), &[], &keep);
        a.sort();
        b.sort();
        assert_eq!(a, b);
    }
    let first = run(&splits, true, 1000, 1, None, &[], &keep);
    let (mut a, mut b) = (first.clone(), model(&splits, true, &keep));
    a.sort();
    b.sort();
    assert_eq!(a, b);
    for (size, of, restart) in [(1, 2, None), (7, 1, Some(3)), (64, 5, Some(1))] {
        assert_eq!(run(&splits, true, size, of, restart, &[], &keep), first, "values and order");
    }
}

#[test]
fn watermarks_do_not_change_the_order() {
    let mut rng = Rng(13);
    let mut splits: Vec<RecordBatch> = Vec::new();
    for i in 0..6i64 {
        let b = table(&mut rng, 200);
        let times: TimestampMillisecondArray = b.column(2).as_primitive::<TimestampMillisecondType>().unary(|t| t + i * 40);
        splits.push(RecordBatch::try_new(schema(), vec![Arc::clone(b.column(0)), Arc::clone(b.column(1)), Arc::new(times)]).unwrap());
    }
    let keep = |_: usize| true;
    let first = run(&splits, true, 100, 1, None, &[], &keep);
    let steps: Vec<(usize, i64)> = (0..5).map(|i| (i, (i as i64 + 1) * 40_000)).collect();
    assert_eq!(run(&splits, true, 33, 2, Some(3), &steps, &keep), first);
    assert_eq!(run(&splits, true, 7, 3, None, &steps[2..3], &keep), first);
}

#[test]
fn state_evolves() {
    fn counts<'a>(state: &mut Before, _: &mut KeyCtx, _: &View<'a, Item>, _: Make<'a>) -> Option<Slot<'a, Str>> {
        state.count += 1;
        None
    }
    let batch = table(&mut Rng(2), 300);
    let mut old = Keyed::<Item, Before, NoSide, Str, _>::factory(spec(false), &schema(), counts)
        .unwrap()
        .create(Instance { index: 0, of: 1 })
        .unwrap();
    let mut out = Out::default();
    cut(&batch, 0, 50, None).into_iter().for_each(|m| out.feed(old.as_mut(), 0, m));
    assert_eq!(out.account.filtered, 300);
    let mut new = create(false, 1).remove(0);
    old.snapshot(0).unwrap().write().unwrap().iter().for_each(|s| new.restore(s).unwrap());
    let mut out = Out::default();
    cut(&batch, 1, 300, None).into_iter().for_each(|m| out.feed(new.as_mut(), 0, m));
    let count = |b: &RecordBatch| lines(b).iter().filter(|l| l.starts_with("some key number 0|")).count();
    let got = lines(&out.rows(&keyed_schema(&spec(false), Str::data_type(), false, &schema())));
    let last = got.iter().rfind(|l| l.starts_with("some key number 0|")).unwrap();
    assert!(last.contains(&format!("some key number 0 {} ", count(&batch) * 2)), "{last}");
    // fields that the program does not know are refused
    let mut back = Keyed::<Item, Before, NoSide, Str, _>::factory(KeyedSpec { keys: vec!["v".into()], ..spec(false) }, &schema(), counts)
        .unwrap()
        .create(Instance { index: 0, of: 1 })
        .unwrap();
    let states = new.snapshot(0).unwrap().write().unwrap();
    assert!(back.restore(&states[0]).unwrap_err().to_string().contains("other key columns"));
}

#[test]
fn late_rows_and_failures() {
    let batch = table(&mut Rng(1), 20);
    let mut op = create(true, 1).remove(0);
    let mut out = Out::default();
    op.watermark(0, 25_000, &mut out).unwrap();
    cut(&batch, 0, 7, None).into_iter().for_each(|m| out.feed(op.as_mut(), 0, m));
    out.finish(op.as_mut(), 0);
    let late = batch.column(2).as_primitive::<TimestampMillisecondType>().values().iter().filter(|t| **t < 25).count();
    assert!(out.account.balanced() && out.account.late == late as u64 && late > 0);

    fn fails<'a>(_: &mut Running, _: &mut KeyCtx, row: &View<'a, Item>, make: Make<'a>) -> Option<Slot<'a, i64>> {
        let v = row.v;
        Some(crate::record::sure::<i64, _, _>(make, if v == 7 { Err("seven") } else { Ok(v) }))
    }
    fn panics<'a>(_: &mut Running, _: &mut KeyCtx, row: &View<'a, Item>, make: Make<'a>) -> Option<Slot<'a, i64>> {
        assert!(row.v != 7, "a seven");
        Some(col::<i64, _>(make, row.v))
    }
    let mut batch = super::others::items(10);
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values((0..10).rev()));
    batch = RecordBatch::try_new(schema(), vec![Arc::clone(batch.column(0)), Arc::clone(batch.column(1)), times]).unwrap();
    for time in [false, true] {
        for (i, factory) in [
            Keyed::<Item, Running, NoSide, i64, _>::factory(spec(time), &schema(), fails).unwrap(),
            Keyed::<Item, Running, NoSide, i64, _>::factory(spec(time), &schema(), panics).unwrap(),
        ]
        .into_iter()
        .enumerate()
        {
            let mut op = factory.create(Instance { index: 0, of: 1 }).unwrap();
            let keep = |r: usize| r % 2 == 1;
            let mut result = op.process(0, cut(&batch, 6, 10, Some(&keep)).remove(0), &mut Out::default());
            if time {
                result = op.finish(0, &mut Out::default());
            }
            let error = result.unwrap_err().to_string();
            assert!(
                error.contains(["operator `p/k` failed: seven", "operator `p/k` panicked: a seven"][i])
                    && error.contains("row 7 of split 6 of source 0"),
                "{error}"
            );
        }
    }
}

/// The outside of a test: a clock that is set by hand.
#[derive(Default)]
pub(super) struct Wall(pub(super) std::sync::Mutex<std::time::Duration>);
impl Outside for Wall {
    fn run(&self, _future: Beside) -> crate::Result<Flight> {
        Err(crate::Error::internal("not here"))
    }
    fn wake_after(&self, _delay: std::time::Duration) {}
    fn now(&self) -> std::time::Duration {
        self.wall()
    }
    fn wall(&self) -> std::time::Duration {
        *self.0.lock().unwrap()
    }
}

/// At a constant load of new keys, memory is what the keys of one time to live need; a key that comes back is new.
#[test]
fn held_bytes_do_not_grow_where_state_expires() {
    const PER_STEP: usize = 400;
    const STEPS: usize = 320;
    // in steps
    const TTL: usize = 20;
    for clock in [false, true] {
        let ttl = Some(Ttl { micros: TTL as i64 * 10_000, clock });
        let spec = KeyedSpec { ttl, ..spec(!clock) };
        let factory = Keyed::<Item, Running, NoSide, Str, _>::factory(spec, &schema(), second).unwrap();
        let mut op = factory.create(Instance { index: 0, of: 1 }).unwrap();
        let (wall, mut out, mut held) = (Arc::new(Wall::default()), Out::default(), Vec::new());
        op.attach(Arc::clone(&wall) as Arc<dyn Outside>);
        for step in 0..STEPS {
            let number = |i: usize| if i == 0 { 0 } else { step * PER_STEP + i };
            // the first key comes back behind each time to live, with three rows
            let rows: Vec<usize> = (usize::from(step % (2 * TTL) > 2)..PER_STEP).map(number).collect();
            let batch = RecordBatch::try_new(
                schema(),
                vec![
                    Arc::new(StringArray::from_iter_values(rows.iter().map(|n| format!("a key that is long: {n}")))),
                    Arc::new(Int64Array::from(vec![1; rows.len()])),
                    Arc::new(TimestampMillisecondArray::from(vec![step as i64 * 10; rows.len()])),
                ],
            )
            .unwrap();
            *wall.0.lock().unwrap() = std::time::Duration::from_millis(step as u64 * 10);
            cut(&batch, step as u64, 100, None).into_iter().for_each(|m| out.feed(op.as_mut(), 0, m));
            if clock && op.pending() == Pending::Ready {
                op.poll(&mut out).unwrap();
            }
            op.watermark(0, (step as i64 + 1) * 10_000, &mut out).unwrap();
            held.push(op.held_bytes());
        }
        // from three times to live on
        let (early, late) = (held[3 * TTL..STEPS / 2].iter().max().unwrap(), held[STEPS / 2..].iter().max().unwrap());
        assert!(*late as f64 <= *early as f64 * 1.02, "by the clock: {clock}: {early} bytes, then {late}");
        let all = (STEPS * (PER_STEP - 1)) as u64;
        let living = (TTL * PER_STEP) as u64;
        assert!(out.account.expired >= all - living && out.account.expired <= all + 4, "{} of {all} expired", out.account.expired);
        // of three rows each time one is a second one, where the first was as new; of twelve, six would be
        let back = STEPS.div_ceil(2 * TTL);
        assert_eq!(out.account.used, back as u64);
        // silence: nobody comes back, and all goes
        *wall.0.lock().unwrap() = std::time::Duration::from_secs(100);
        if clock {
            assert_eq!(op.pending(), Pending::Ready);
            op.poll(&mut out).unwrap();
        } else {
            op.watermark(0, 100_000_000, &mut out).unwrap();
        }
        assert!(op.held_bytes() < held[STEPS - 1] / 10, "{} bytes of {}", op.held_bytes(), held[STEPS - 1]);
    }
}
