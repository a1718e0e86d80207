//! Cuts of keyed steps that leave out what has not changed: with what they leave out they are whole cuts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::hand::Item;
use super::keyed::Wall;
use super::{Out, Rng, cut, lines};
use crate::kernel::hash::{KEY_GROUPS, hash_columns, instance_of, key_group};
use crate::kernel::{Morsel, Selection};
use crate::operator::*;
use crate::record::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, false),
        Field::new("v", DataType::Int64, false),
        Field::new("t", DataType::Timestamp(TimeUnit::Millisecond, None), false),
    ]))
}
pub(super) fn batch(rows: &[(u64, i64, i64)]) -> RecordBatch {
    let keys = StringArray::from_iter_values(rows.iter().map(|r| format!("the key with number {}", r.0)));
    let values = Int64Array::from_iter_values(rows.iter().map(|r| r.1));
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.2));
    RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(values), Arc::new(times)]).unwrap()
}

/// Rows and timers of a key, and the values of late, as text of any length.
#[derive(Default)]
pub(super) struct Busy {
    rows: u64,
    fired: u64,
    said: String,
}
impl State for Busy {
    fn type_name() -> String {
        "Busy".into()
    }
    fn encode(&self, out: &mut Vec<u8>) {
        ((self.rows, self.fired), self.said.clone()).encode(out);
    }
    fn decode(from: &mut &[u8]) -> crate::Result<Self> {
        let ((rows, fired), said) = State::decode(from)?;
        Ok(Busy { rows, fired, said })
    }
}
impl KeyedRows for Busy {
    type Out = Str;
    type Side = i64;
    type Timers = EventTimers;
    const ENTRY: OperatorEntry = super::hand::entry("Busy");
    const TIMER: bool = true;
    const CLOCK_TIMER: bool = true;
    fn timer(&mut self, ctx: &mut KeyCtx<i64>, at: Timestamp<Micros>, out: &mut Vec<Str>) {
        self.fired += 1;
        if self.fired % 3 == 1 {
            ctx.set_timer(Timestamp::new(at.value() + 9_000));
        }
        out.push(format!("timer {} behind {} rows, {}", self.fired, self.rows, self.said).into());
    }
    fn clock_timer(&mut self, _: &mut KeyCtx<i64>, _: Timestamp<Micros>, out: &mut Vec<Str>) {
        self.said.push('!');
        out.push(format!("by the clock behind {} rows", self.rows).into());
    }
}

/// Sets and deletes timers by the value, and says something now and then.
pub(super) fn busy(state: &mut Busy, ctx: &mut KeyCtx<i64>, out: &mut Vec<Str>, row: &View<'_, Item>) -> bool {
    let (now, v) = (ctx.event_time().map_or(0, |t| t.value()), row.v);
    state.rows += 1;
    match v % 7 {
        0 => ctx.set_timer(Timestamp::new(now + v * 100)),
        1 => ctx.delete_timer(Timestamp::new(now + 1_000)),
        2 => ctx.set_clock_timer(Timestamp::new(ctx.now().unwrap().value() + v * 50)),
        3 => ctx.side(v),
        4 => state.said.push_str(&"la".repeat(v as usize % 5)),
        5 => state.said.clear(),
        _ => {}
    }
    out.push(format!("{} {} {}", row.k, state.rows, state.said).into());
    true
}

fn spec(ttl: Option<Ttl>) -> KeyedSpec {
    KeyedSpec { name: "p/k".into(), keys: vec!["k".into()], event_time: Some("t".into()), output: "o".into(), node: 4, offset: 0, ttl }
}

pub(super) type Cuts = Vec<BTreeMap<u16, Vec<u8>>>;

/// A job of instances, and what a runtime has stored of each.
pub(super) struct Job {
    pub(super) ops: Vec<Box<dyn Operator>>,
    wall: Arc<Wall>,
    base: Cuts,
    /// Whether the last cuts are known.
    known: bool,
    out: Out,
    seen: Vec<String>,
}

impl Job {
    pub(super) fn start(ttl: Option<Ttl>, of: usize, stored: &Cuts, wall: &Arc<Wall>, disk: Option<&StateDisk>) -> Job {
        let factory = Machine::<Item, Busy, _>::factory(spec(ttl), &schema(), busy).unwrap();
        let mut ops: Vec<_> = (0..of).map(|index| factory.create(Instance { index, of }).unwrap()).collect();
        ops.iter_mut().for_each(|op| disk.iter().for_each(|disk| op.state_on_disk(disk, of).unwrap()));
        let mut base: Cuts = vec![BTreeMap::new(); of];
        let of_all = || stored.iter().flatten().map(|(group, bytes)| GroupState { group: *group, bytes: bytes.clone() });
        for state in of_all().filter(|s| s.group == SHARED) {
            ops.iter_mut().for_each(|op| op.restore(&state).unwrap());
        }
        for state in of_all().filter(|s| s.group != SHARED) {
            let index = instance_of(state.group, KEY_GROUPS, of);
            ops[index].restore(&state).unwrap();
            base[index].insert(state.group, state.bytes);
        }
        ops.iter_mut().for_each(|op| op.attach(Arc::clone(wall) as Arc<dyn Outside>));
        Job { ops, wall: Arc::clone(wall), base, known: true, out: Out::default(), seen: Vec::new() }
    }
    pub(super) fn step(&mut self, rows: &RecordBatch, split: u64, watermark: i64) {
        for morsel in cut(rows, split, 13, None) {
            let hashes = hash_columns(&morsel.batch, &["k".into()]).unwrap();
            for index in 0..self.ops.len() {
                let mut words = vec![0u64; hashes.len().div_ceil(64)];
                let mine = |h: &u64| instance_of(key_group(*h, KEY_GROUPS), KEY_GROUPS, self.ops.len()) == index;
                hashes.iter().enumerate().filter(|(_, h)| mine(h)).for_each(|(r, _)| words[r / 64] |= 1 << (r % 64));
                self.out.feed(self.ops[index].as_mut(), 0, Morsel { selection: Some(Selection::new(words)), ..morsel.clone() });
            }
        }
        for op in &mut self.ops {
            if op.pending() == Pending::Ready {
                op.poll(&mut self.out).unwrap();
            }
            op.watermark(0, watermark, &mut self.out).unwrap();
        }
        self.collect();
    }
    fn collect(&mut self) {
        let morsels = std::mem::take(&mut self.out.morsels).into_iter().chain(std::mem::take(&mut self.out.failed));
        self.seen.extend(morsels.flat_map(|m| lines(&m.compact().unwrap())));
    }
    /// A checkpoint as the runtime takes it. Returns it with how many key groups were written and how many were not.
    pub(super) fn cut(&mut self) -> (Cuts, usize, usize) {
        let (mut written, mut kept) = (0, 0);
        for (op, base) in self.ops.iter_mut().zip(&mut self.base) {
            let frozen = if self.known { op.snapshot_changes(1) } else { op.snapshot(1) };
            let delta = frozen.unwrap().write_changes().unwrap();
            let mut now: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
            for group in delta.unchanged {
                kept += 1;
                assert!(now.insert(group, base.get(&group).expect("it was stored before").clone()).is_none());
            }
            for state in delta.states {
                written += usize::from(state.group != SHARED);
                assert!(now.insert(state.group, state.bytes).is_none());
            }
            *base = now;
        }
        self.known = true;
        (self.base.clone(), written, kept)
    }
    /// A whole cut of the same state. It is the last cut now, and holds the same.
    pub(super) fn whole(&mut self) -> Cuts {
        let cut = |op: &mut Box<dyn Operator>| op.snapshot(1).unwrap().write().unwrap().into_iter().map(|s| (s.group, s.bytes)).collect();
        self.ops.iter_mut().map(cut).collect()
    }
}

/// What a cut means, whatever the numbers of births: what one instance that was restored to it writes.
pub(super) fn meaning(cuts: &Cuts, ttl: Option<Ttl>) -> Cuts {
    Job::start(ttl, 1, cuts, &Arc::default(), None).whole()
}

struct Script {
    steps: Vec<(RecordBatch, i64, u64)>,
}
fn script(rng: &mut Rng) -> Script {
    let (mut time, mut clock) = (0, 1000);
    let steps = (0..40).map(|_| {
        let quiet = rng.below(3) == 0;
        let (keys, from) = (if quiet { 3 } else { 60 }, rng.below(300));
        let rows: Vec<_> =
            (0..rng.below(50)).map(|_| (from + rng.below(keys), rng.below(200) as i64, time + rng.below(30) as i64)).collect();
        time += rng.below(2) as i64 * 10;
        clock += rng.below(3) * 10;
        (batch(&rows), (time - 5) * 1000, clock)
    });
    Script { steps: steps.collect() }
}

fn end(mut job: Job) -> Vec<String> {
    for op in &mut job.ops {
        job.out.finish(op.as_mut(), 0);
    }
    job.collect();
    job.seen.sort();
    job.seen
}

pub(super) fn seeds(n: u64) -> std::ops::Range<u64> {
    0..n * std::env::var("SABOT_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// Cuts at random, of which some are lost with the process; the job goes on from the last that was kept, at another parallelism.
#[test]
fn what_is_left_out_of_a_cut_is_as_it_was() {
    goes_on_from_changes(seeds(6), |_, _| None);
}

/// `disk`: where states are in this life of the job.
pub(super) fn goes_on_from_changes(seeds: std::ops::Range<u64>, disk: impl Fn(u64, u64) -> Option<StateDisk>) {
    let (mut all_written, mut all_kept, mut crashes) = (0, 0, 0);
    for seed in seeds {
        let mut rng = Rng(seed * 7919 + 13);
        let ttl = [None, Some(Ttl { micros: 40_000, clock: false }), Some(Ttl { micros: 30_000, clock: true })][seed as usize % 3];
        let script = script(&mut rng);
        let set = |wall: &Wall, millis: u64| *wall.0.lock().unwrap() = std::time::Duration::from_millis(millis);
        let mut plain = Job::start(ttl, 1, &Vec::new(), &Arc::default(), None);
        for (split, (rows, watermark, clock)) in script.steps.iter().enumerate() {
            set(&plain.wall, *clock);
            plain.step(rows, split as u64, *watermark);
        }
        let expected = end(plain);

        let (wall, mut lives) = (Arc::<Wall>::default(), 0);
        let mut job = Job::start(ttl, 1 + rng.below(4) as usize, &Vec::new(), &wall, disk(seed, lives).as_ref());
        // without a cut that was stored, the first is whole
        job.known = false;
        let (mut at, mut kept) = (0, (0, Cuts::new(), Vec::new()));
        while at < script.steps.len() {
            let (rows, watermark, clock) = &script.steps[at];
            set(&wall, *clock);
            job.step(rows, at as u64, *watermark);
            at += 1;
            match rng.below(6) {
                0 | 1 => {
                    let (cuts, written, left) = job.cut();
                    if rng.below(4) == 0 {
                        let whole = job.whole();
                        assert!(meaning(&cuts, ttl) == meaning(&whole, ttl), "seed {seed}, behind step {at}");
                    }
                    (all_written, all_kept) = (all_written + written, all_kept + left);
                    kept = (at, cuts, job.seen.clone());
                }
                // a cut that no one stored: the process dies
                2 if lives < 5 => {
                    job.cut();
                    lives += 1;
                    let (from, cuts, seen) = kept.clone();
                    job = Job::start(ttl, 1 + rng.below(4) as usize, &cuts, &wall, disk(seed, lives).as_ref());
                    job.known = from > 0;
                    (at, job.seen) = (from, seen);
                }
                _ => {}
            }
        }
        crashes += lives;
        let got = end(job);
        let first = got.iter().zip(&expected).find(|(a, b)| a != b);
        assert!(got == expected, "seed {seed}: {} rows of {}: {first:?}", got.len(), expected.len());
    }
    assert!(
        crashes > 10 && all_kept > all_written / 2 && all_written > 500,
        "{crashes} crashes, {all_written} written, {all_kept} left out"
    );
}

#[test]
fn few_bytes_are_written_if_little_has_changed() {
    let wall = Arc::<Wall>::default();
    let mut job = Job::start(None, 2, &Vec::new(), &wall, None);
    let rows: Vec<_> = (0..30_000).map(|k| (k, 6, k as i64 / 1000)).collect();
    job.step(&batch(&rows), 0, 50_000);
    let all: usize = job.whole().iter().flatten().map(|(_, bytes)| bytes.len()).sum();
    let changes =
        |job: &mut Job| -> Vec<Delta> { job.ops.iter_mut().map(|op| op.snapshot_changes(2).unwrap().write_changes().unwrap()).collect() };
    let bytes = |deltas: &[Delta]| deltas.iter().flat_map(|d| &d.states).map(|s| s.bytes.len()).sum::<usize>();
    let left = |deltas: &[Delta]| deltas.iter().map(|d| d.unchanged.len()).sum::<usize>();

    // time alone changes no group
    job.step(&batch(&[]), 1, 60_000);
    let nothing = changes(&mut job);
    assert!(left(&nothing) == 128 && bytes(&nothing) == 2 * 16, "{} bytes, {} left out", bytes(&nothing), left(&nothing));
    job.step(&batch(&[(5, 6, 70), (6, 6, 70), (40_000, 6, 70)]), 2, 80_000);
    let some = changes(&mut job);
    assert!(left(&some) >= 125 && bytes(&some) * 30 < all, "{} bytes of {all}, {} left out", bytes(&some), left(&some));
    assert!(bytes(&changes(&mut job)) == 2 * 16, "a mark is taken once");
    // a row that waits is a change, and so is a timer that it leaves behind
    job.step(&batch(&[(7, 7, 90)]), 3, 80_000);
    assert_eq!(left(&changes(&mut job)), 127);
    job.step(&batch(&[]), 4, 91_000);
    assert_eq!(left(&changes(&mut job)), 127);
    job.step(&batch(&[]), 5, 1_000_000);
    assert_eq!(left(&changes(&mut job)), 127, "the timer fired");
}
