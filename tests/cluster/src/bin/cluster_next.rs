//! The program of the tests as its next version: what `ledger` writes has one more column, and `poison` counts by another key, so that its state does not fit.

#[path = "cluster_tool/watched.rs"]
mod watched;

use sabot::prelude::*;

/// The `n`-th row of its key.
#[derive(Record, Clone, Debug)]
struct Tick {
    key: i64,
    n: i64,
    #[event_time]
    at: Timestamp<Micros>,
}

/// How many rows a key had.
#[derive(State, Default)]
struct Seen {
    count: i64,
}
#[operator]
fn counted(seen: &mut Seen, n: i64) -> i64 {
    seen.count += i64::from(n >= 0);
    seen.count
}
#[operator]
fn doubled(n: i64) -> i64 {
    n * 2
}

const PARTITIONS: u32 = 4;
const KEYS: u64 = 50;

fn tick(partition: u32, row: u64) -> Tick {
    let number = row * u64::from(PARTITIONS) + u64::from(partition);
    Tick { key: (number % KEYS) as i64, n: (number / KEYS) as i64, at: Timestamp::new(number as i64 * 1000) }
}

pipeline! {
    /// Each row with how many its key had, and twice that.
    pub fn ledger(per_second: f64);
    ticks   = source(Source::<Tick>::from(generate(PARTITIONS, tick).rows_per_second(per_second)));
    entries = ticks -> key_by(key) -> keyed(|t| row { count: counted(t.n) }) -> with(|t| row { twice: doubled(t.count) });
    entries -> sink;
}

pipeline! {
    /// By another key.
    pub fn poison(per_second: f64, poisoned: i64);
    ticks   = source(Source::<Tick>::from(generate(PARTITIONS, tick).rows_per_second(per_second)));
    entries = ticks -> filter(|t| t.n != poisoned) -> key_by(n) -> keyed(|t| row { count: counted(t.n) });
    entries -> sink;
}

fn main() -> Result<()> {
    watched::run(|_| None).unwrap_or_else(sabot::main)
}
