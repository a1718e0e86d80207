//! Memory over time: state that expires does not grow, however long a job runs. Alone in its process, since it looks at the process's memory.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::{Arc, Mutex};

use sabot::prelude::*;
use sabot::runtime::{Checkpoint, Control, Ticket};
use sabot::stream::Job;

/// A visit.
#[derive(Record, Clone, Debug)]
struct Visit {
    visitor: i64,
    page: Str,
    #[event_time]
    ts: Timestamp<Micros>,
}

/// Rows per TTL of 10 seconds, of as many visitors: each comes twice, and never again.
const PER_TTL: u64 = 10_000;

fn visit(row: u64) -> Visit {
    Visit {
        visitor: row as i64 / 2,
        page: format!("a page with a long name, {}", row % 1000).as_str().into(),
        ts: Timestamp::new(row as i64 * 1000),
    }
}

/// Counts visits, and keeps the first page.
#[derive(State, Default)]
struct First {
    page: Option<String>,
    visits: i64,
}

#[operator]
impl First {
    fn row(&mut self, _ctx: &mut KeyCtx, page: &str) -> Option<i64> {
        self.page.get_or_insert_with(|| page.to_owned());
        self.visits += 1;
        (self.visits > 5).then_some(self.visits)
    }
}

pipeline! {
    /// State per visitor that expires.
    pub fn expiring(visits: Source<Visit>);
    out = visits -> key_by(visitor) -> keyed(|v| First(v.page), ttl = 10.sec()) -> select(|f| row { visitor: f.visitor });
    out -> sink;
}
pipeline! {
    /// State per visitor that stays.
    pub fn staying(visits: Source<Visit>);
    out = visits -> key_by(visitor) -> keyed(|v| First(v.page)) -> select(|f| row { visitor: f.visitor });
    out -> sink;
}
pipeline! {
    /// Pairs that are near in time. Both sides are of one source: of two, one could be ahead, and wait for the other.
    pub fn joining(visits: Source<Visit>);
    out = visits -> key_by(visitor) -> join(visits -> filter(|v| v.visitor % 3 != 0) -> key_by(visitor), ttl = 10.sec(), |l, r| row { visitor: l.visitor, same: l.page == r.page })
                 -> filter(|p| p.visitor < 0);
    out -> sink;
}

/// What was seen at some row.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Bytes of state in a checkpoint.
    state: usize,
    /// Bytes of the process.
    resident: u64,
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().map_or(0, |kb| kb << 10)
}

/// Takes a checkpoint at each of these rows, and stops the job at the last.
#[derive(Clone)]
struct Watch {
    control: Control,
    at: Vec<u64>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    samples: Vec<Sample>,
    /// The checkpoint that was asked for last, and the memory then.
    last: Option<(Ticket<Checkpoint>, u64)>,
}

impl Seen {
    /// Takes the checkpoint that was asked for last, of which nothing stays.
    fn settle(&mut self) {
        if let Some((ticket, resident)) = self.last.take()
            && let Some(Ok(checkpoint)) = ticket.try_take()
        {
            let state = checkpoint.states.iter().map(|s| s.state.bytes.len()).sum();
            self.samples.push(Sample { state, resident });
        }
    }
}

impl Watch {
    fn new(ttls: &[u64]) -> Watch {
        Watch { control: Control::new(), at: ttls.iter().map(|t| t * PER_TTL).collect(), seen: Arc::default() }
    }
    fn source(&self) -> Source<Visit> {
        let watch = self.clone();
        generate(1, move |_, row| {
            if watch.at.contains(&row) {
                let mut seen = watch.seen.lock().unwrap();
                seen.settle();
                seen.last = Some((watch.control.request_snapshot(), resident()));
                if watch.at.last() == Some(&row) {
                    watch.control.stop();
                }
            }
            visit(row)
        })
        .disorder(0.sec())
        .into()
    }
    fn run(&self, job: Job) -> sabot::Result<Vec<Sample>> {
        let job = job.sink("out", sabot::connect::SinkSpec::Blackhole).options(|o| {
            (o.threads, o.morsel_rows, o.checkpoints) = (2, 500, true);
            o.memory_budget = o.memory_budget.or(Some(BUDGET));
        });
        job.run_with(&self.control)?;
        let mut seen = self.seen.lock().unwrap();
        seen.settle();
        Ok(std::mem::take(&mut seen.samples))
    }
}

/// Some times the state of 10,000 visitors: the engine's own count of what operators hold may not exceed it.
const BUDGET: usize = 8 << 20;

/// Neither state nor memory is more after many TTLs than after three.
fn flat(samples: &[Sample]) {
    assert!(samples.len() >= 5, "{samples:?}");
    let (first, later) = samples.split_first().unwrap();
    for sample in later {
        // rows in queues and the time since the last watermark differ
        assert!(sample.state as f64 <= first.state as f64 * 1.25, "state grows: {samples:?}");
        assert!(sample.resident <= samples[1].resident + (32 << 20), "memory grows: {samples:?}");
    }
    assert!(first.state > 100_000, "there is state: {samples:?}");
}

#[test]
fn what_expires_does_not_grow() {
    let ttls = [3, 6, 12, 20, 30, 40];
    let watch = Watch::new(&ttls);
    flat(&watch.run(expiring(watch.source())).unwrap());
    let watch = Watch::new(&ttls);
    flat(&watch.run(joining(watch.source())).unwrap());
    // and the same would grow, and be found out, if it did not expire
    let watch = Watch::new(&ttls);
    let error = watch.run(staying(watch.source())).unwrap_err();
    assert!(matches!(&error, sabot::Error::Memory { operator, .. } if operator.contains("keyed")), "{error}");
}
