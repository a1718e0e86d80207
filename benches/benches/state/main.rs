//! How fast keyed state is updated: `cargo bench -p sabot-benches --no-default-features --bench state`.
//!
//! Whole pipelines on one thread: rows from memory, a keyed operator, a sink that counts. Each case is compared with a map that is updated by
//! hand, before anything is timed; then it prints millions of rows per second of processor time, the best of three turns, and what the
//! hand-written loop over the same batches takes. `-- --smoke` only checks.
//!
//! With `--features fjall`, `-- --disk` compares state on disk with the store as it is: see `disk.rs`.
#![allow(missing_docs, unreachable_pub, clippy::print_stdout)]

#[cfg(feature = "fjall")]
mod disk;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::SchemaRef;
use rustix::time::{ClockId, clock_gettime};
use sabot::connect::SinkSpec;
use sabot::operator::{Read, Source as Reads, Split, SplitReader};
use sabot::prelude::*;
use sabot::record::schema_of;

const TURNS: usize = 3;
const ROWS: usize = 4_000_000;
const CHECKED: usize = 100_000;
const BATCH: usize = 16_384;

/// A payment.
#[derive(Record, Clone, Debug, PartialEq)]
struct Paid {
    card: i64,
    cents: i64,
    #[event_time]
    at: Timestamp<Micros>,
}
/// As [`Paid`], without event time.
#[derive(Record, Clone, Debug, PartialEq)]
struct Plain {
    card: i64,
    cents: i64,
}
/// A card's account after a payment.
#[derive(Record, Clone, Debug, PartialEq)]
struct Account {
    card: i64,
    spent: i64,
}

/// What a card spent, and how often.
#[derive(State, Default)]
struct Spent {
    cents: i64,
    times: i64,
}

#[operator]
fn spent(state: &mut Spent, cents: i64) -> i64 {
    state.cents += cents;
    state.times += 1;
    state.cents
}

/// The same, with a timer for each card that a payment puts off.
#[derive(State, Default)]
struct Timed {
    cents: i64,
    due: Option<Timestamp<Micros>>,
}
#[operator]
impl Timed {
    fn row(&mut self, ctx: &mut KeyCtx, cents: i64) -> i64 {
        self.cents += cents;
        if let Some(due) = self.due.replace(ctx.time() + 1.sec()) {
            ctx.delete_timer(due);
        }
        ctx.set_timer(ctx.time() + 1.sec());
        self.cents
    }
    fn timer(&mut self, _ctx: &mut KeyCtx, _at: Timestamp<Micros>) -> Option<i64> {
        self.due = None;
        None
    }
}

pipeline! {
    /// As rows come.
    pub fn arrival(paid: Source<Plain>);
    out = paid -> key_by(card) -> keyed(|p| row { spent: spent(p.cents) }) -> select(|p| row Account { card: p.card, spent: p.spent });
    out -> sink;
}
pipeline! {
    /// By event time.
    pub fn ordered(paid: Source<Paid>);
    out = paid -> key_by(card) -> keyed(|p| row { spent: spent(p.cents) }) -> select(|p| row Account { card: p.card, spent: p.spent });
    out -> sink;
}
pipeline! {
    /// By event time, with state that expires.
    pub fn expiring(paid: Source<Paid>);
    out = paid -> key_by(card) -> keyed(|p| row { spent: spent(p.cents) }, ttl = 1.day())
               -> select(|p| row Account { card: p.card, spent: p.spent });
    out -> sink;
}
pipeline! {
    /// With a timer per card.
    pub fn timed(paid: Source<Paid>);
    out = paid -> key_by(card) -> keyed(|p| row { spent: Timed(p.cents) }) -> select(|p| row Account { card: p.card, spent: p.spent });
    out -> sink;
}

/// Seconds of processor time of this process, all threads.
fn cpu() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// Payments of random cards, a microsecond apart.
fn batches(rows: usize, cards: u64, schema: &SchemaRef) -> Vec<RecordBatch> {
    let mut seed = 7_u64;
    let mut out = Vec::new();
    for start in (0..rows).step_by(BATCH) {
        let numbers = start..rows.min(start + BATCH);
        let card = Int64Array::from_iter_values(numbers.clone().map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 33) % cards) as i64 * 1_000_003
        }));
        let cents = Int64Array::from_iter_values(numbers.clone().map(|n| n as i64 % 997));
        let at = TimestampMicrosecondArray::from_iter_values(numbers.map(|n| n as i64));
        let columns: Vec<arrow_array::ArrayRef> = vec![Arc::new(card), Arc::new(cents), Arc::new(at)];
        let columns = columns.into_iter().take(schema.fields().len()).collect();
        out.extend(RecordBatch::try_new(Arc::clone(schema), columns).ok());
    }
    out
}

/// Batches as a stream that tells time behind each of them, and ends all the same.
#[derive(Clone)]
struct Replay(Arc<Vec<RecordBatch>>, SchemaRef);
struct Replayed(Arc<Vec<RecordBatch>>, usize);

impl Reads for Replay {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.1)
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
    fn open(&self, _split: &Split, _position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        Ok(Box::new(Replayed(Arc::clone(&self.0), 0)))
    }
    fn describe(&self) -> String {
        "a replay".into()
    }
}
impl SplitReader for Replayed {
    fn next(&mut self, _max_rows: usize) -> Result<Read> {
        let Some(batch) = self.0.get(self.1) else { return Ok(Read::End) };
        self.1 += 1;
        Ok(Read::Rows(batch.clone(), Some((self.1 * BATCH) as i64)))
    }
    fn position(&self) -> serde_json::Value {
        self.1.into()
    }
}

fn source<R: Record>(rows: usize, cards: u64) -> Replay {
    let schema = Arc::new(schema_of::<R>());
    Replay(Arc::new(batches(rows, cards, &schema)), schema)
}

fn column(batch: &RecordBatch, name: &str) -> Vec<i64> {
    let array = batch.column_by_name(name).and_then(|c| c.as_any().downcast_ref::<Int64Array>());
    array.map(|a| a.values().to_vec()).unwrap_or_default()
}

/// The same by hand; the sum of all results.
fn by_hand(replay: &Replay) -> i64 {
    let (mut all, mut sum) = (HashMap::<i64, Spent>::new(), 0_i64);
    for batch in replay.0.iter() {
        for (card, cents) in column(batch, "card").into_iter().zip(column(batch, "cents")) {
            let state = all.entry(card).or_default();
            state.cents += cents;
            state.times += 1;
            sum = sum.wrapping_add(state.cents);
        }
    }
    sum
}

type Make = fn(Replay) -> sabot::stream::Job;

fn main() -> Result<()> {
    let smoke = std::env::args().any(|a| a == "--smoke");
    #[cfg(feature = "fjall")]
    if smoke || std::env::args().any(|a| a == "--disk") {
        disk::compare(smoke)?;
        if !smoke {
            return Ok(());
        }
    }
    let cases: [(&str, bool, Make); 4] = [
        ("as rows come", false, |r| arrival(Source::custom(move || Ok(r.clone())))),
        ("by event time", true, |r| ordered(Source::custom(move || Ok(r.clone())))),
        ("by event time, ttl", true, |r| expiring(Source::custom(move || Ok(r.clone())))),
        ("by event time, a timer per key", true, |r| timed(Source::custom(move || Ok(r.clone())))),
    ];
    println!("{:34} {:>10} {:>16} {:>14}", "case", "keys", "million rows/s", "by hand");
    for (name, has_time, make) in cases {
        for cards in [1_000, 100_000, 1_000_000] {
            let replay = |rows| if has_time { source::<Paid>(rows, cards) } else { source::<Plain>(rows, cards) };
            let small = replay(CHECKED);
            let rows: Vec<Account> = make(small.clone()).parallel(1).collect()?;
            let sum = rows.iter().fold(0_i64, |s, r| s.wrapping_add(r.spent));
            if rows.len() != CHECKED || sum != by_hand(&small) {
                return Err(Error::Usage(format!("{name}, {cards} keys: another result than by hand")));
            }
            if smoke {
                continue;
            }
            let large = replay(ROWS);
            let rate = |f: &dyn Fn() -> Result<()>| -> Result<f64> {
                let mut best = f64::INFINITY;
                for _ in 0..TURNS {
                    let start = cpu();
                    f()?;
                    best = best.min(cpu() - start);
                }
                Ok(ROWS as f64 / best / 1e6)
            };
            let ours = rate(&|| make(large.clone()).parallel(1).sink("out", SinkSpec::Blackhole).run().map(|_| ()))?;
            let hand = rate(&|| {
                std::hint::black_box(by_hand(&large));
                Ok(())
            })?;
            println!("{name:34} {cards:>10} {ours:>16.1} {hand:>14.1}");
        }
    }
    println!("all results are as by hand");
    Ok(())
}
