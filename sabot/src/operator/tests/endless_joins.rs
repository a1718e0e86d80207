//! Joins of streams against the batch join, at the level of operators: any interleaving, restarts, key groups that move, watermarks
//! held back, and memory that does not grow.

use std::sync::Arc;

use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::layers::Held;
use super::{Out, Rng, cut, encode, lines};
use crate::kernel::{Morsel, Origin};
use crate::operator::*;
use crate::plan::{Direction, EventColumn, JoinKind, Matching, Span};

const SECOND: i64 = 1_000_000;

fn schema(unit: TimeUnit) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, false),
        Field::new("t", DataType::Timestamp(unit, None), false),
    ]))
}

/// Rows in about the order of time.
fn side(rng: &mut Rng, rows: usize, keys: u64, unit: TimeUnit) -> RecordBatch {
    let key = |rng: &mut Rng| (rng.below(9) > 0).then(|| rng.below(keys).min(rng.below(keys)));
    let text = |k: u64| if k.is_multiple_of(2) { format!("a rather long key {k}") } else { format!("k{k}") };
    let keys: Vec<Option<String>> = (0..rows).map(|_| key(rng).map(text)).collect();
    let times = TimestampMicrosecondArray::from(
        (0..rows as i64).map(|n| (n / 3 - rng.below(6) as i64) * SECOND / 2 - 5 * SECOND).collect::<Vec<_>>(),
    );
    let values = Int64Array::from((0..rows as i64).collect::<Vec<_>>());
    let times = arrow_cast::cast(&times, &DataType::Timestamp(unit, None)).unwrap();
    RecordBatch::try_new(schema(unit), vec![Arc::new(StringArray::from(keys)), Arc::new(values), times]).unwrap()
}

fn times(batch: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    let Some(column) = batch.column_by_name(column) else { return vec![None; batch.num_rows()] };
    let micros = arrow_cast::cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None)).unwrap();
    let micros = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::TimestampMicrosecondType>(&micros);
    micros.iter().collect()
}

pub(super) fn spec(kind: JoinKind, matching: Matching) -> Arc<JoinSpec> {
    let names = |n: &[&str]| n.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let t = EventColumn { column: "t".into(), offset: 0 };
    Arc::new(JoinSpec {
        name: "p/j".into(),
        kind,
        matching,
        left_on: names(&["k"]),
        right_on: names(&["k"]),
        left: names(&["v", "k", "t"]),
        right: if kind.pairs() { names(&["t", "v"]) } else { Vec::new() },
        times: Some((t.clone(), t)),
        node: 9,
        by_group: false,
        mirrored: false,
    })
}

pub(super) fn factory(spec: &Arc<JoinSpec>, left: &SchemaRef, right: &SchemaRef) -> Arc<dyn OperatorFactory> {
    let needed = TimesNeeded { left: true, right: true };
    let factory = match spec.matching {
        Matching::AsOf { .. } => AsOfJoin::factory(Arc::clone(spec), left, right),
        Matching::SameWindow { .. } => WindowJoin::factory(Arc::clone(spec), None, left, right, needed),
        _ => IntervalJoin::factory(Arc::clone(spec), None, left, right, needed),
    };
    factory.unwrap()
}

fn make(spec: &Arc<JoinSpec>, left: &SchemaRef, right: &SchemaRef) -> Box<dyn Operator> {
    factory(spec, left, right).create(Instance { index: 0, of: 1 }).unwrap()
}

/// The same rows through the batch join.
fn batch(spec: &Arc<JoinSpec>, left: &RecordBatch, right: &RecordBatch, keep: &dyn Fn(usize) -> bool) -> Vec<String> {
    let mut join =
        Join::factory(Arc::clone(spec), None, &left.schema(), &right.schema(), None).unwrap().create(Instance { index: 0, of: 1 }).unwrap();
    let mut out = Out::default();
    for (port, batch) in [(1, right), (0, left)] {
        cut(batch, 0, 100, Some(keep)).into_iter().for_each(|m| out.feed(join.as_mut(), port, m));
        out.finish(join.as_mut(), port);
    }
    let mut rows: Vec<String> = out.morsels.iter().flat_map(|m| lines(&m.compact().unwrap())).collect();
    rows.sort();
    rows
}

/// Instances of a join, each with the key groups that it owns, and what they emit.
struct Instances {
    all: Vec<(Box<dyn Operator>, Box<dyn Fn(u16) -> bool>)>,
    out: Out,
    times: [EventTime; 2],
    forwarded: EventTime,
    seen: usize,
    /// The columns of event time that a later step may follow.
    told: &'static [&'static str],
}

impl Instances {
    fn feed(&mut self, port: usize, morsel: &Morsel) {
        let dense = morsel.compact().unwrap();
        let groups = keys::key_groups(&[Arc::clone(dense.column(0))], dense.num_rows()).unwrap();
        for (op, owns) in &mut self.all {
            let rows: UInt32Array = (0u32..).zip(&groups).filter(|(_, g)| owns(**g)).map(|(row, _)| row).collect();
            let part = arrow_select::take::take_record_batch(&dense, &rows).unwrap();
            if part.num_rows() > 0 {
                self.out.feed(op.as_mut(), port, Morsel::new(part, morsel.origin));
            }
        }
        self.check();
    }
    fn watermark(&mut self, port: usize, time: EventTime) {
        self.times[port] = self.times[port].max(time);
        for (op, _) in &mut self.all {
            op.watermark(port, self.times[port], &mut self.out).unwrap();
        }
        self.check();
        let hold = self.all.iter().map(|(op, _)| op.hold()).min().unwrap();
        self.forwarded = self.forwarded.max(self.times[0].min(self.times[1]).min(hold));
    }
    /// No row is behind the watermark that was passed on.
    fn check(&mut self) {
        for m in &self.out.morsels[self.seen..] {
            let batch = m.compact().unwrap();
            for column in self.told {
                let least = times(&batch, column).into_iter().flatten().min();
                assert!(least.is_none_or(|t| t >= self.forwarded), "{column} {least:?} behind {}", self.forwarded);
            }
        }
        self.seen = self.out.morsels.len();
    }
}

fn check(spec: &Arc<JoinSpec>, rng: &mut Rng, units: [TimeUnit; 2], asof: bool) {
    let (l, r) = (120 + rng.below(200) as usize, 120 + rng.below(200) as usize);
    let (left, right) = (side(rng, l, 7, units[0]), side(rng, r, 5, units[1]));
    let seed = rng.below(5);
    let keep = move |row: usize| seed == 0 || !(row as u64 + seed).is_multiple_of(4);
    let expected = batch(spec, &left, &right, &keep);
    let dict = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let sides = match rng.below(3) {
        0 => [left, right],
        1 => [encode(&left, &DataType::Utf8View), encode(&right, &dict)],
        _ => [encode(&left, &dict), encode(&right, &DataType::LargeUtf8)],
    };
    let size = [1, 7, 64][rng.below(3) as usize];
    let mut queues = [0, 1].map(|p: usize| cut(&sides[p], 0, size, Some(&keep)));
    queues.iter_mut().for_each(|q| q.reverse());
    let new = || make(spec, &sides[0].schema(), &sides[1].schema());
    let mut run = Instances {
        all: vec![(new(), Box::new(|_| true))],
        out: Out { tight: seed == 1, ..Out::default() },
        times: [EventTime::MIN; 2],
        forwarded: EventTime::MIN,
        seen: 0,
        // the right row of an as-of join may be missing, so its time is none
        told: if asof { &["left.t"] } else { &["left.t", "right.t", "t"] },
    };
    let (mut step, mut held) = (0, Held::default());
    while queues.iter().any(|q| !q.is_empty()) {
        let port = rng.below(2) as usize;
        let Some(morsel) = queues[port].pop() else { continue };
        run.feed(port, &morsel);
        let rest = queues[port].iter().flat_map(|m| times(&m.compact().unwrap(), "t")).flatten().min();
        if rng.below(3) > 0 {
            run.watermark(port, rest.unwrap_or(END_OF_TIME));
        }
        step += 1;
        if step == 3 || step == 6 {
            held.cut(run.all[0].0.as_mut(), usize::MAX);
        }
        if step == 9 && seed > 1 {
            // a restart
            held.cut(run.all[0].0.as_mut(), usize::MAX);
            let mut again = new();
            held.restore(again.as_mut(), &|_| true);
            if seed > 2 {
                // half of the key groups go to another instance
                let mut other = new();
                held.restore(other.as_mut(), &|g| g % 2 == 1);
                (0..128).filter(|g| g % 2 == 1).for_each(|g| again.release(g));
                run.all = vec![(again, Box::new(|g| g % 2 == 0)), (other, Box::new(|g| g % 2 == 1))];
            } else {
                run.all[0].0 = again;
            }
            let [a, b] = run.times;
            run.watermark(0, a);
            run.watermark(1, b);
        }
    }
    for port in [rng.below(2) as usize, 0, 1] {
        run.watermark(port, END_OF_TIME);
    }
    for (op, _) in &mut run.all {
        run.out.finish(op.as_mut(), 0);
        run.out.finish(op.as_mut(), 1);
        assert!(op.held_bytes() < 40_000, "{} bytes are left", op.held_bytes());
    }
    let mut rows: Vec<String> = run.out.morsels.iter().flat_map(|m| lines(&m.compact().unwrap())).collect();
    rows.sort();
    assert_eq!(rows, expected, "{:?} {:?}", spec.kind, spec.matching);
    let account = run.out.account;
    assert!(seed > 2 || (account.balanced() && account.held == 0), "{account:?}");
    assert!(!asof || !rows.is_empty());
}

const KINDS: [JoinKind; 6] = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];
const UNITS: [[TimeUnit; 2]; 3] = [
    [TimeUnit::Microsecond, TimeUnit::Microsecond],
    [TimeUnit::Nanosecond, TimeUnit::Microsecond],
    [TimeUnit::Millisecond, TimeUnit::Nanosecond],
];

#[test]
fn near_rows_as_in_a_batch() {
    let mut rng = Rng(11);
    for round in 0..3 {
        for kind in KINDS {
            for (from, to) in [(-4, 4), (0, 0), (2, 5), (-7, -1)] {
                let within = Matching::Within { from: from * SECOND, to: to * SECOND };
                check(&spec(kind, within), &mut rng, UNITS[round % 3], false);
            }
        }
    }
}

#[test]
fn nearest_rows_as_in_a_batch() {
    let mut rng = Rng(12);
    for round in 0..4 {
        for direction in [Direction::Backward, Direction::Forward, Direction::Nearest] {
            for tolerance in [None, Some(0), Some(3 * SECOND)] {
                check(&spec(JoinKind::Left, Matching::AsOf { direction, tolerance }), &mut rng, UNITS[round % 3], true);
            }
        }
    }
}

/// What each of the joins holds while rows come at a constant rate.
#[test]
fn what_is_held_does_not_grow() {
    let within = Matching::Within { from: -20 * SECOND, to: 20 * SECOND };
    let near = |direction| Matching::AsOf { direction, tolerance: Some(20 * SECOND) };
    let windows = Matching::SameWindow { window: Span::Aligned { size: 20 * SECOND, slide: 5 * SECOND } };
    let table = Matching::AsOf { direction: Direction::Backward, tolerance: None };
    let matchings = KINDS.map(|kind| (kind, within)).into_iter().chain([
        (JoinKind::Left, near(Direction::Backward)),
        (JoinKind::Left, near(Direction::Nearest)),
        (JoinKind::Left, table),
        (JoinKind::Full, windows),
        (JoinKind::Inner, windows),
    ]);
    for (kind, matching) in matchings {
        let schema = schema(TimeUnit::Microsecond);
        let mut join = make(&spec(kind, matching), &schema, &schema);
        let mut held = Vec::new();
        let mut rng = Rng(5);
        for second in 0..240i64 {
            let mut out = Out::default();
            for port in [0, 1] {
                // new keys all the time, but for the table
                let keys = (0..200).map(|n| if matching == table { format!("k{n}") } else { format!("k{}", second * 200 / 7 + n) });
                let times =
                    TimestampMicrosecondArray::from((0..200).map(|_| second * SECOND + rng.below(1_000_000) as i64).collect::<Vec<_>>());
                let columns: Vec<ArrayRef> =
                    vec![Arc::new(keys.map(Some).collect::<StringArray>()), Arc::new(Int64Array::from(vec![second; 200])), Arc::new(times)];
                let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
                out.feed(join.as_mut(), port, Morsel::new(rows, Origin::default()));
                join.watermark(port, second * SECOND - 2 * SECOND, &mut out).unwrap();
            }
            held.push(join.held_bytes());
        }
        // three times the longest time that a row may wait has passed
        let (early, late) = (held[70..150].iter().max().unwrap(), held[160..].iter().max().unwrap());
        assert!(*late <= early + early / 20, "{kind:?} {matching:?}: {early} bytes, later {late}");
        assert!(*late > 10_000, "{kind:?} {matching:?}: {late} bytes");
    }
}
