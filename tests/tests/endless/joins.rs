//! Joins of two endless streams: what a stopped or crashed job gives is what a naive model makes of the rows it consumed.

use super::*;
use sabot::stream::Job;

#[path = "joins/asof.rs"]
mod asof;
#[path = "joins/near.rs"]
mod near;
#[path = "joins/windowed.rs"]
mod windowed;

/// A row of either side.
#[derive(Record, Clone, Debug, PartialEq)]
struct Event {
    id: i64,
    key: Option<i64>,
    name: Str,
    amount: i64,
    #[event_time]
    ts: Timestamp<Micros>,
}

/// A pair of which either may be missing.
#[derive(Record, Clone, Debug, PartialEq)]
struct Either {
    left: Option<i64>,
    right: Option<i64>,
}

/// Row `row` of a partition of a side: some are late, most keys are the same, some are null, and many times are equal.
fn event(side: u64, partition: u32, row: u64) -> Event {
    let random = mix(side << 60 | u64::from(partition) << 40 | row);
    let back = if random.is_multiple_of(9) { (random >> 8) % 9 } else { (random >> 8) % 4 };
    let key = match (random >> 16) % 8 {
        0..4 => Some(0),
        4..7 => Some((random >> 24) as i64 % 5),
        _ => None,
    };
    Event {
        id: (i64::from(partition) << 32 | row as i64) * 2 + side as i64,
        key,
        name: ["", "a", "a text longer than twelve bytes"][(random >> 32) as usize % 3].into(),
        amount: (random >> 40) as i64 % 10,
        ts: Timestamp::new((row as i64 * 2 - back as i64) * SECOND),
    }
}

/// How a test runs: two sources and what was read of each.
struct Setting {
    seed: u64,
    random: u64,
    partitions: [u32; 2],
    disorder: [i64; 2],
    consumed: [Consumed; 2],
    /// Rows of the right side per partition, if it ends.
    ends: Option<u64>,
    /// Both sides are rows that end.
    batch: bool,
}

impl Setting {
    fn new(seed: u64, salt: u64) -> Setting {
        let random = mix(seed ^ salt);
        let partitions = [1 + (random >> 8) as u32 % 3, 1 + (random >> 10) as u32 % 2];
        let disorder = [(random >> 16) as i64 % 6, (random >> 20) as i64 % 6];
        Setting { seed, random, partitions, disorder, consumed: Default::default(), ends: None, batch: false }
    }
    fn threads(&self, shift: u32) -> usize {
        [1, 2, 3, 8][(self.random >> shift) as usize % 4]
    }
    fn morsel(&self) -> usize {
        [1, 7, 50][(self.random >> 44) as usize % 3]
    }
    fn trial(&self) -> Trial {
        Trial::new().threads(self.threads(0)).morsel_rows(self.morsel()).seed(self.seed)
    }
    fn source(&self, side: usize) -> Source<Event> {
        if self.batch {
            return self.rows(side).0.into();
        }
        let consumed = Arc::clone(&self.consumed[side]);
        let make = move |partition: u32, row: u64| {
            consumed.lock().unwrap().insert(partition, row + 1);
            event(side as u64, partition, row)
        };
        let source = generate(self.partitions[side], make).disorder((self.disorder[side] * SECOND).into());
        match self.ends.filter(|_| side == 1) {
            Some(rows) => source.rows(rows).into(),
            None => source.into(),
        }
    }
    /// The rows of a side that count, and how many are late.
    fn rows(&self, side: usize) -> (Vec<Event>, u64) {
        let (mut rows, mut late) = (Vec::new(), 0);
        let ends = self.batch || (self.ends.is_some() && side == 1);
        for (partition, end) in self.consumed[side].lock().unwrap().iter() {
            let mut watermark = i64::MIN;
            for row in 0..*end {
                let e = event(side as u64, *partition, row);
                if e.ts.value() < watermark && !ends {
                    late += 1;
                } else {
                    watermark = watermark.max(e.ts.value() - self.disorder[side] * SECOND);
                    rows.push(e);
                }
            }
        }
        (rows, late)
    }
    /// Runs a job over rows that end, in several ways.
    fn batches(seed: u64, job: impl Fn(&Setting) -> Job, check: impl Fn(&Setting, &Ran)) {
        let s = Setting { batch: true, ..Setting::new(seed, 0xba7c) };
        for (side, rows) in [(0, 90 + seed * 7), (1, 60 + seed * 5)] {
            s.consumed[side].lock().unwrap().extend([(0, rows), (1, rows / 2)]);
        }
        for (threads, morsel) in [(1, 65_536), (2, 7), (3, 1), (8, 64)] {
            check(&s, &Trial::new().threads(threads).morsel_rows(morsel).run(job(&s).optimise(threads % 2 == 0)).unwrap());
        }
    }
    /// Runs a job until it is stopped.
    fn stopped(&self, job: Job) -> Ran {
        let stop = 200 + (self.random >> 24) % 900;
        self.trial().stop_at(stop).run(job).unwrap_or_else(|e| panic!("seed {}: {e}", self.seed))
    }
    /// Runs a job that crashes, and goes on with another number of threads until it is stopped. `None` if there was no checkpoint.
    fn crashed(&self, job: impl Fn() -> Job) -> Option<Ran> {
        let crash = 400 + (self.random >> 24) % 600;
        let trial = self.trial().crash_at(crash).snapshot_at(crash / 3).snapshot_at(crash / 2).snapshot_at(crash * 3 / 4);
        let ran = trial.run(job()).unwrap_or_else(|e| panic!("seed {}: {e}", self.seed));
        let checkpoint = ran.checkpoint.filter(|_| ran.report.is_none())?;
        // what was read after the cut will be read once more
        self.consumed.iter().for_each(|c| c.lock().unwrap().clear());
        for p in &checkpoint.positions {
            let side = usize::from(p.node.contains("rights"));
            let mut consumed = self.consumed[side].lock().unwrap();
            consumed.extend(p.done.iter().map(|(partition, _)| (*partition, self.ends.unwrap_or_default())));
            consumed.extend(p.open.iter().map(|o| (o.partition, o.row)));
        }
        let again = Trial::new().threads(self.threads(50)).morsel_rows(13).seed(self.seed + 1000).stop_at(300 + self.seed % 40 * 10);
        Some(again.from(Some(checkpoint)).run(job()).unwrap_or_else(|e| panic!("seed {}: {e}", self.seed)))
    }
    /// Compares the rows of a sink.
    fn same<T: sabot::record::Named + std::fmt::Debug>(&self, ran: &Ran, sink: &str, expected: &[T]) -> usize {
        let rows: Vec<T> = ran.rows(sink).unwrap();
        same_rows(&rows, expected, 0.0).unwrap_or_else(|e| panic!("seed {}, {sink}: {e}", self.seed));
        rows.len()
    }
}

/// Which rows of a join come out, as a naive model makes them.
fn model(lefts: &[Event], rights: &[Event], fits: &dyn Fn(&Event, &Event) -> bool, keeps: (bool, bool)) -> Vec<Either> {
    let partner = |l: &Event, r: &Event| l.key.is_some() && l.key == r.key && fits(l, r);
    let mut out = Vec::new();
    for l in lefts {
        let before = out.len();
        out.extend(rights.iter().filter(|r| partner(l, r)).map(|r| Either { left: Some(l.id), right: Some(r.id) }));
        if out.len() == before && keeps.0 {
            out.push(Either { left: Some(l.id), right: None });
        }
    }
    if keeps.1 {
        let alone = rights.iter().filter(|r| !lefts.iter().any(|l| partner(l, r)));
        out.extend(alone.map(|r| Either { left: None, right: Some(r.id) }));
    }
    out
}

/// Rows by id.
fn by_id(rows: &[Event]) -> BTreeMap<i64, Event> {
    rows.iter().map(|e| (e.id, e.clone())).collect()
}

/// What a window of a result has.
#[derive(Record, Clone, Debug, PartialEq)]
struct Window {
    window_start: Timestamp<Micros>,
    rows: u64,
    total: i64,
}

/// Windows of five seconds over times and amounts.
fn windows(rows: impl Iterator<Item = (i64, i64)>) -> Vec<Window> {
    let mut all: BTreeMap<i64, (u64, i64)> = BTreeMap::new();
    for (time, amount) in rows {
        let window = all.entry(time.div_euclid(5 * SECOND) * 5 * SECOND).or_default();
        *window = (window.0 + 1, window.1 + amount);
    }
    all.into_iter().map(|(start, (rows, total))| Window { window_start: Timestamp::new(start), rows, total }).collect()
}

/// Right time less left time, in seconds.
fn apart(l: &Event, r: &Event) -> i64 {
    (r.ts.value() - l.ts.value()) / SECOND
}
