//! Timers, state that expires, and second outputs of keyed operators, against a naive model: one key after the other, by hand.

use std::collections::{BTreeMap, BTreeSet};

use sabot::operator::{Read, Source as Reads, Split, SplitReader};

use super::*;

/// Sets, doubles and deletes timers by what it sees; timers set timers.
#[derive(State, Default)]
struct Odd {
    rows: u64,
    fired: u64,
    due: Option<Timestamp<Micros>>,
}

#[operator]
impl Odd {
    fn row(&mut self, ctx: &mut KeyCtx<Str>, value: f64) -> Option<Str> {
        let kind = value as i64;
        self.rows += 1;
        match kind % 6 {
            // for the past and for now, too
            0 => ctx.set_timer(ctx.time() + (kind % 40 - 10).sec()),
            1 => {
                let at = ctx.time() + 10.sec();
                ctx.set_timer(at);
                ctx.set_timer(at);
                self.due = Some(at);
            }
            2 => self.due.take().into_iter().for_each(|at| ctx.delete_timer(at)),
            3 => ctx.side(format!("{} aside", self.rows).into()),
            _ => {}
        }
        (kind % 4 != 0).then(|| format!("row {} after {}", self.rows, self.fired).into())
    }
    fn timer(&mut self, ctx: &mut KeyCtx<Str>, at: Timestamp<Micros>) -> Option<Str> {
        assert_eq!(ctx.time(), at);
        self.fired += 1;
        if self.fired % 4 == 1 {
            ctx.set_timer(at + 7.sec());
        }
        if self.fired.is_multiple_of(5) {
            ctx.side(format!("timer {}", self.fired).into());
        }
        Some(format!("timer {} after {}", self.fired, self.rows).into())
    }
}

/// What comes out, main and aside.
#[derive(Record, Clone, Debug, PartialEq, PartialOrd)]
struct Told {
    sensor: i64,
    value: Str,
    time: Timestamp<Micros>,
}

pipeline! {
    /// Timers of event time, and rows aside.
    pub fn odd(readings: Source<Reading>);
    (main, aside) = readings -> key_by(sensor) -> keyed(|r| Odd(r.value));
    main -> sink;
    aside -> sink;
}

/// The model's own state: no timers but a set of times.
#[derive(Default)]
struct Model {
    rows: u64,
    fired: u64,
    due: Option<i64>,
    timers: BTreeSet<i64>,
    main: Vec<Told>,
    aside: Vec<Told>,
}

impl Model {
    fn told(sensor: i64, time: i64, value: String) -> Told {
        Told { sensor, value: value.into(), time: Timestamp::new(time) }
    }
    fn fire_until(&mut self, sensor: i64, until: i64) {
        while let Some(at) = self.timers.first().copied().filter(|at| *at <= until) {
            self.timers.remove(&at);
            self.fired += 1;
            if self.fired % 4 == 1 {
                self.timers.insert((at + 7 * SECOND).max(at + 1));
            }
            if self.fired.is_multiple_of(5) {
                self.aside.push(Self::told(sensor, at, format!("timer {}", self.fired)));
            }
            self.main.push(Self::told(sensor, at, format!("timer {} after {}", self.fired, self.rows)));
        }
    }
    fn row(&mut self, r: &Reading) {
        let (kind, now) = (r.value as i64, r.ts.value());
        self.fire_until(r.sensor, now);
        self.rows += 1;
        match kind % 6 {
            0 => _ = self.timers.insert((now + (kind % 40 - 10) * SECOND).max(now + 1)),
            1 => {
                self.due = Some(now + 10 * SECOND);
                self.timers.insert(now + 10 * SECOND);
            }
            2 => self.due.take().into_iter().for_each(|at| _ = self.timers.remove(&at.max(now + 1))),
            3 => self.aside.push(Self::told(r.sensor, now, format!("{} aside", self.rows))),
            _ => {}
        }
        if kind % 4 != 0 {
            self.main.push(Self::told(r.sensor, now, format!("row {} after {}", self.rows, self.fired)));
        }
    }
}

/// Rows by sensor, in order of time, then as they stand.
pub(super) fn sorted(mut rows: Vec<Reading>) -> BTreeMap<i64, Vec<Reading>> {
    rows.sort_by_key(|r| r.ts.value());
    let mut out: BTreeMap<i64, Vec<Reading>> = BTreeMap::new();
    rows.into_iter().for_each(|r| out.entry(r.sensor).or_default().push(r));
    out
}

fn model(rows: Vec<Reading>) -> (Vec<Told>, Vec<Told>) {
    let (mut main, mut aside) = (Vec::new(), Vec::new());
    for (sensor, rows) in sorted(rows) {
        let mut model = Model::default();
        rows.iter().for_each(|r| model.row(r));
        model.fire_until(sensor, i64::MAX);
        main.extend(model.main);
        aside.extend(model.aside);
    }
    (main, aside)
}

/// Of each key the rows in the order in which they came.
fn by_key(rows: &[Told]) -> Vec<Told> {
    let mut out = rows.to_vec();
    out.sort_by_key(|t| t.sensor);
    out
}

pub(super) fn check_odd(seed: u64, ran: &Ran, rows: Vec<Reading>) -> usize {
    let (main, aside) = model(rows);
    for (name, wanted) in [("main", &main), ("aside", &aside)] {
        let got = by_key(&ran.rows::<Told>(name).unwrap());
        let first = got.iter().zip(wanted).position(|(g, w)| g != w);
        assert!(
            got == *wanted,
            "seed {seed}, {name}: {} rows, wanted {}; at {first:?}: {:?} and {:?}",
            got.len(),
            wanted.len(),
            first.map(|i| &got[i]),
            first.map(|i| &wanted[i])
        );
    }
    main.iter().filter(|t| t.value.starts_with("timer")).count()
}

#[test]
fn timers_fire_in_order_of_time_wherever_a_job_is_stopped() {
    let mut fired = 0;
    for seed in 0..30u64 {
        let random = mix(seed ^ 0x71);
        let (partitions, disorder) = (1 + (random >> 8) as u32 % 3, (random >> 16) as i64 % 6);
        let trial = Trial::new().threads([1, 2, 3, 8][random as usize % 4]).morsel_rows([1, 7, 50][(random >> 40) as usize % 3]);
        let consumed = Consumed::default();
        let ran = trial.seed(seed).stop_at(100 + (random >> 24) % 1200).run(odd(source(partitions, disorder, &consumed))).unwrap();
        let (rows, late) = rows_of(&consumed, disorder);
        assert_eq!(ran.late(), late, "seed {seed}");
        fired += check_odd(seed, &ran, rows);
    }
    assert!(fired > 800, "the test shows something: {fired} timers");
}

#[test]
fn timers_are_the_same_in_a_batch() {
    let rows: Vec<Reading> = (0..3).flat_map(|p| (0..400).map(move |r| reading(p, r))).collect();
    for (threads, morsel) in [(1, 1), (2, 64), (3, 7), (8, 1000), (2, 65_536)] {
        let ran = Trial::new().threads(threads).morsel_rows(morsel).run(odd(sabot::testing::splits(&rows, 50))).unwrap();
        assert!(check_odd(threads as u64, &ran, rows.clone()) > 100);
    }
}

#[test]
fn timers_survive_a_crash_at_another_parallelism() {
    let (mut restored, mut fired) = (0, 0);
    for seed in 0..30u64 {
        let random = mix(seed ^ 0x7a11);
        let (partitions, disorder) = (1 + (random >> 8) as u32 % 3, (random >> 16) as i64 % 6);
        let crash = 300 + (random >> 24) % 700;
        let consumed = Consumed::default();
        let job = || odd(source(partitions, disorder, &consumed));
        let first = Trial::new().threads([1, 2, 3, 8][random as usize % 4]).morsel_rows([1, 7, 50][(random >> 40) as usize % 3]);
        let ran = first.seed(seed).crash_at(crash).snapshot_at(crash / 3).snapshot_at(crash * 2 / 3).run(job()).unwrap();
        *consumed.lock().unwrap() = positions(ran.checkpoint.as_ref());
        restored += u64::from(ran.checkpoint.is_some());
        let again = Trial::new().threads([3, 1, 8, 2][random as usize % 4]).morsel_rows(13).seed(seed + 1000).stop_at(200 + seed * 4);
        let ran = again.from(ran.checkpoint).run(job()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        fired += check_odd(seed, &ran, rows_of(&consumed, disorder).0);
    }
    assert!(restored > 20 && fired > 400, "{restored} of 30 had a complete checkpoint, {fired} timers");
}

/// Rows of timers are not late for what follows.
#[derive(Record, Clone, Debug, PartialEq)]
struct Counted {
    sensor: i64,
    window_start: Timestamp<Micros>,
    rows: u64,
}

pipeline! {
    /// Windows over what an operator with timers makes.
    pub fn counted(readings: Source<Reading>);
    (main, _aside) = readings -> key_by(sensor) -> keyed(|r| Odd(r.value));
    counted = main -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|_t| row { rows: count() });
    counted -> sink;
}

#[test]
fn rows_of_timers_are_in_time_for_windows() {
    for seed in 0..8u64 {
        let consumed = Consumed::default();
        let trial = Trial::new().threads(1 + seed as usize % 4).morsel_rows(20).seed(seed).stop_at(1500);
        let ran = trial.run(counted(source(1 + seed as u32 % 3, 4, &consumed))).unwrap();
        let (rows, late) = rows_of(&consumed, 4);
        assert_eq!(ran.late(), late, "seed {seed}: no row of the operator's own is late");
        let mut wanted: BTreeMap<(i64, i64), u64> = BTreeMap::new();
        for t in model(rows).0 {
            *wanted.entry((t.sensor, t.time.value().div_euclid(60 * SECOND) * 60 * SECOND)).or_default() += 1;
        }
        let wanted: Vec<Counted> =
            wanted.into_iter().map(|((sensor, start), rows)| Counted { sensor, window_start: Timestamp::new(start), rows }).collect();
        same_rows(&ran.rows::<Counted>("counted").unwrap(), &wanted, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}

/// Numbers the rows of a key; says aside when one is its first.
#[operator]
fn number(state: &mut u64, ctx: &mut KeyCtx<u64>, value: f64) -> u64 {
    *state += 1;
    if *state == 1 {
        ctx.side(value as u64);
    }
    *state
}

#[derive(Record, Clone, Debug, PartialEq)]
pub(super) struct Numbered {
    sensor: i64,
    value: f64,
    ts: Timestamp<Micros>,
    number: u64,
}
#[derive(Record, Clone, Debug, PartialEq)]
pub(super) struct First {
    key: i64,
    value: u64,
    time: Timestamp<Micros>,
}

pipeline! {
    /// Keys come and go; a function, and an operator with timers that keep its keys alive.
    pub fn expiring(readings: Source<Reading>, spread: i64);
    spread = readings -> with(|r| row { key: key_of(r.sensor, r.value, spread) });
    (numbered, first) = spread -> key_by(key) -> keyed(|r| row { number: number(r.value) }, ttl = 40.sec());
    kept = spread -> key_by(key) -> keyed(|r| row { rows: Sleeper(r.value) }, ttl = 40.sec());
    numbered -> select(|r| row Numbered { sensor: r.key, value: r.value, ts: r.ts, number: r.number }) -> sink;
    first -> sink;
    kept -> sink;
}

#[operator]
fn key_of(sensor: i64, value: f64, spread: i64) -> i64 {
    sensor * spread + (value * 7.0) as i64 % spread
}

/// Counts rows; now and then it waits for a timer, longer than state lives.
#[derive(State, Default)]
struct Sleeper {
    rows: u64,
}
#[operator]
impl Sleeper {
    fn row(&mut self, ctx: &mut KeyCtx, value: f64) -> u64 {
        self.rows += 1;
        if value as i64 % 3 == 0 {
            ctx.set_timer(ctx.time() + 90.sec());
        }
        self.rows
    }
    fn timer(&mut self, _ctx: &mut KeyCtx, _at: Timestamp<Micros>) -> Vec<u64> {
        vec![self.rows * 1000, self.rows * 1000 + 1]
    }
}
#[derive(Record, Clone, Debug, PartialEq)]
pub(super) struct Kept {
    key: i64,
    rows: u64,
    time: Timestamp<Micros>,
}

pub(super) fn model_of_expiry(rows: Vec<Reading>, spread: i64) -> (Vec<Numbered>, Vec<First>, Vec<Kept>, u64) {
    let rows = rows.into_iter().map(|r| Reading { sensor: key_of(r.sensor, r.value, spread), ..r }).collect();
    let (mut numbered, mut first, mut kept, mut gone) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (key, rows) in sorted(rows) {
        let (mut count, mut touched) = (0u64, None);
        for r in &rows {
            let now = r.ts.value();
            if touched.is_some_and(|t: i64| t + 40 * SECOND <= now) {
                (count, gone) = (0, gone + 1);
            }
            touched = Some(now);
            count += 1;
            if count == 1 {
                first.push(First { key, value: r.value as u64, time: r.ts });
            }
            numbered.push(Numbered { sensor: key, value: r.value, ts: r.ts, number: count });
        }
        let (mut count, mut touched, mut timers) = (0u64, None, BTreeSet::new());
        let fire = |until: i64, count: u64, touched: &mut Option<i64>, timers: &mut BTreeSet<i64>, kept: &mut Vec<Kept>| {
            while let Some(at) = timers.first().copied().filter(|at| *at <= until) {
                timers.remove(&at);
                *touched = Some(at);
                kept.extend([0, 1].map(|i| Kept { key, rows: count * 1000 + i, time: Timestamp::new(at) }));
            }
        };
        for r in &rows {
            let now = r.ts.value();
            fire(now, count, &mut touched, &mut timers, &mut kept);
            if timers.is_empty() && touched.is_some_and(|t| t + 40 * SECOND <= now) {
                (count, gone) = (0, gone + 1);
            }
            touched = Some(now);
            count += 1;
            if r.value as i64 % 3 == 0 {
                timers.insert(now + 90 * SECOND);
            }
            kept.push(Kept { key, rows: count, time: r.ts });
        }
        fire(i64::MAX, count, &mut touched, &mut timers, &mut kept);
    }
    (numbered, first, kept, gone)
}

#[test]
fn state_expires_in_event_time() {
    let (mut gone, mut died) = (0, 0);
    for seed in 0..16u64 {
        let random = mix(seed ^ 0x771);
        let (partitions, disorder, spread) = (1 + (random >> 8) as u32 % 3, (random >> 16) as i64 % 6, 1 + (random >> 50) as i64 % 30);
        let consumed = Consumed::default();
        let job = || expiring(source(partitions, disorder, &consumed), spread);
        let crash = 300 + (random >> 24) % 900;
        let first = Trial::new().threads([1, 2, 3, 8][random as usize % 4]).morsel_rows([1, 7, 50][(random >> 40) as usize % 3]);
        let ran = first.seed(seed).crash_at(crash).snapshot_at(crash / 2).run(job()).unwrap();
        *consumed.lock().unwrap() = positions(ran.checkpoint.as_ref());
        let again = Trial::new().threads([3, 1, 8, 2][random as usize % 4]).morsel_rows(13).seed(seed + 1000).stop_at(1200);
        let ran = again.from(ran.checkpoint).run(job()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let (numbered, first, kept, expired) = model_of_expiry(rows_of(&consumed, disorder).0, spread);
        same_rows(&ran.rows::<Numbered>("numbered").unwrap(), &numbered, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        same_rows(&ran.rows::<First>("first").unwrap(), &first, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        same_rows(&ran.rows::<Kept>("kept").unwrap(), &kept, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let counted: u64 = ran.report.as_ref().unwrap().nodes.iter().map(|n| n.account.expired).sum();
        assert!(counted >= expired, "seed {seed}: {counted} keys are reported, {expired} came back");
        (gone, died) = (gone + expired, died + counted);
    }
    assert!(gone > 100 && died > gone, "keys came back after {gone} of {died} deaths");
}

/// Rows at once, then silence without end.
#[derive(Clone)]
struct Burst {
    rows: u64,
}
struct BurstReader {
    at: u64,
    of: u64,
}
impl Reads for Burst {
    fn schema(&self) -> arrow_schema::SchemaRef {
        sabot::record::to_batch(&[reading(0, 0)]).schema()
    }
    fn project(&mut self, _columns: &[String]) -> Result<()> {
        Ok(())
    }
    fn bounded(&self) -> bool {
        false
    }
    fn splits(&self) -> Result<Vec<Split>> {
        Ok(vec![Split { partition: 0, sequence: 0, rows: None, bytes: None, spec: serde_json::Value::Null }])
    }
    fn open(&self, _split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        Ok(Box::new(BurstReader { at: position.and_then(serde_json::Value::as_u64).unwrap_or_default(), of: self.rows }))
    }
    fn describe(&self) -> String {
        "a burst".into()
    }
}
impl SplitReader for BurstReader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        let to = self.of.min(self.at + max_rows as u64);
        if self.at == to {
            return Ok(Read::Idle);
        }
        let rows: Vec<Reading> = (self.at..to).map(|r| reading(0, r)).collect();
        self.at = to;
        Ok(Read::Rows(sabot::record::to_batch(&rows), None))
    }
    fn position(&self) -> serde_json::Value {
        self.at.into()
    }
}

/// Says, by the clock, how many rows came before a second of silence.
#[derive(State, Default)]
struct Quiet {
    rows: u64,
    due: Option<Timestamp<Micros>>,
}
#[operator]
impl Quiet {
    fn row(&mut self, ctx: &mut KeyCtx, _value: f64) {
        self.rows += 1;
        if let Some(due) = self.due.take() {
            ctx.delete_clock_timer(due);
        }
        self.due = ctx.now().map(|now| now + 1.sec());
        self.due.into_iter().for_each(|due| ctx.set_clock_timer(due));
    }
    fn clock_timer(&mut self, ctx: &mut KeyCtx, at: Timestamp<Micros>) -> Option<u64> {
        assert!(ctx.now() >= Some(at) && self.due == Some(at));
        (ctx.now() < Some(at + 5.ms())).then_some(self.rows)
    }
}
#[derive(Record, Clone, Debug, PartialEq)]
struct Silent {
    sensor: i64,
    value: u64,
}

/// As [`Reading`], without event time.
#[derive(Record, Clone, Debug, PartialEq)]
struct Plain {
    sensor: i64,
    value: f64,
}

pipeline! {
    /// Silence of a stream without event time, and of one with it.
    pub fn quiet(plain: Source<Plain>, readings: Source<Reading>);
    without = plain -> key_by(sensor) -> keyed(|r| Quiet(r.value));
    with_time = readings -> watermark(disorder = 0.sec()) -> key_by(sensor) -> keyed(|r| Quiet(r.value)) -> select(|q| row { sensor: q.sensor, value: q.value });
    without -> sink;
    with_time -> sink;
}

#[test]
fn timers_by_the_clock_fire_without_input_and_survive() {
    let (mut both, mut early) = (0, 0);
    for seed in 0..24u64 {
        let job = || {
            let plain: Source<Plain> = Source::custom(|| Ok(Burst { rows: 30 }));
            let timed: Source<Reading> = Source::custom(|| Ok(Burst { rows: 30 }));
            quiet(plain, timed)
        };
        let threads = [1, 2, 3, 8];
        let trial = Trial::new().morsel_rows(1 + seed as usize % 9).threads(threads[seed as usize % 4]);
        // the clock goes 5 ms per look at a silent source: the first second is over after some 1500 steps
        let (ran, again) = if seed % 2 == 0 {
            (trial.seed(seed).stop_at(20_000).run(job()).unwrap(), false)
        } else {
            let ran = trial.seed(seed).snapshot_at(200).crash_at(600 + seed).run(job()).unwrap();
            let again = Trial::new().threads(threads[(seed as usize + 2) % 4]).seed(seed + 99).from(ran.checkpoint);
            (again.stop_at(20_000).run(job()).unwrap(), true)
        };
        let mut wanted: BTreeMap<i64, u64> = BTreeMap::new();
        (0..30).for_each(|r| *wanted.entry(reading(0, r).sensor).or_default() += 1);
        let wanted: Vec<Silent> = wanted.into_iter().map(|(sensor, value)| Silent { sensor, value }).collect();
        same_rows(&ran.rows::<Silent>("without").unwrap(), &wanted, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        // rows that wait for the watermark are not counted yet
        let timed = ran.rows::<Silent>("with_time").unwrap();
        assert!(timed.len() <= 3 && timed.iter().all(|t| wanted.iter().any(|w| w.sensor == t.sensor && w.value >= t.value)), "{timed:?}");
        both += timed.len();
        early += usize::from(again);
    }
    assert!(both > 40 && early == 12, "{both}");
}

/// Counts, and forgets by the clock.
#[operator]
fn counts(state: &mut u64, value: f64) -> Option<u64> {
    let _ = value;
    *state += 1;
    Some(*state)
}

pipeline! {
    /// State that expires by the clock.
    pub fn forgetful(readings: Source<Reading>, plain: Source<Plain>);
    by_choice = readings -> key_by(sensor) -> keyed(|r| counts(r.value), clock_ttl = 1.sec()) -> select(|r| row { value: r.value });
    by_need = plain -> key_by(sensor) -> keyed(|r| counts(r.value), ttl = 1.sec()) -> select(|r| row { value: r.value });
    by_choice -> sink;
    by_need -> sink;
}

#[test]
fn state_expires_by_the_clock_without_input() {
    for seed in 0..8u64 {
        let timed: Source<Reading> = Source::custom(|| Ok(Burst { rows: 30 }));
        let plain: Source<Plain> = Source::custom(|| Ok(Burst { rows: 30 }));
        let trial = Trial::new().morsel_rows(5).threads([1, 2, 3, 8][seed as usize % 4]).seed(seed);
        let ran = trial.stop_at(20_000).run(forgetful(timed, plain)).unwrap();
        for node in ran.report.as_ref().unwrap().nodes.iter().filter(|n| n.name.ends_with("keyed")) {
            // all three keys are gone; what waited for the watermark comes at the end
            assert!(node.account.expired >= 2 && node.account.expired <= 6, "seed {seed}: {} of `{}`", node.account.expired, node.name);
            assert_eq!(node.account.used, 30);
        }
    }
}

/// Always sets another timer.
#[derive(State, Default)]
struct Endless {
    polite: bool,
}
#[operator]
impl Endless {
    fn row(&mut self, ctx: &mut KeyCtx, value: f64) {
        self.polite = value > 0.0;
        ctx.set_timer(ctx.time() + 1.sec());
    }
    fn timer(&mut self, ctx: &mut KeyCtx, at: Timestamp<Micros>) -> Option<bool> {
        if !(self.polite && ctx.ended()) {
            ctx.set_timer(at + 1.sec());
        }
        None
    }
}
pipeline! {
    /// Timers without end.
    pub fn ticking(readings: Source<Reading>, polite: f64);
    ticking = readings -> with(|r| row { polite: r.value * 0.0 + polite }) -> key_by(sensor) -> keyed(|r| Endless(r.polite));
    ticking -> sink;
}

#[test]
fn timers_that_never_end_are_refused_at_the_end() {
    let rows: Vec<Reading> = (0..10).map(|r| reading(0, r)).collect();
    let error = Trial::new().run(ticking(rows.clone(), 0.0)).unwrap_err().to_string();
    assert!(error.contains("`ticking/ticking/keyed` would never end") && error.contains("ctx.ended()"), "{error}");
    Trial::new().run(ticking(rows, 1.0)).unwrap();
}

/// Panics in a timer.
#[derive(State, Default)]
struct Breaks {}
#[operator]
impl Breaks {
    fn row(&mut self, ctx: &mut KeyCtx, value: f64) {
        let _ = value;
        ctx.set_timer(ctx.time() + 1.sec());
    }
    fn timer(&mut self, _ctx: &mut KeyCtx, _at: Timestamp<Micros>) -> Option<bool> {
        panic!("no more")
    }
}
pipeline! {
    /// A timer that panics, and a lifetime that cannot be.
    pub fn breaking(readings: Source<Reading>, seconds: i64);
    breaking = readings -> key_by(sensor) -> keyed(|r| Breaks(r.value), ttl = seconds.sec());
    breaking -> sink;
}

#[test]
fn mistakes_at_run_time() {
    let rows: Vec<Reading> = (0..2).map(|r| reading(0, r)).collect();
    let error = Trial::new().run(breaking(rows.clone(), 3600)).unwrap_err().to_string();
    assert!(
        error.contains("breaking/breaking/keyed") && error.contains("panicked: no more") && error.contains("a timer at 1970-"),
        "{error}"
    );
    let error = Trial::new().run(breaking(rows, 0)).unwrap_err().to_string();
    assert!(error.contains("state needs some time to live, not 0"), "{error}");
}
