//! The program that the tests with real processes start as server, agents and tool.

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

/// Breaks at a row.
#[operator]
fn brittle(n: i64, at: i64) -> i64 {
    assert!(n != at, "row {n} is poison");
    n
}

/// Breaks where it meets this row for the first time, and when it is asked again which row that was: there is a file for each case.
#[operator]
fn stumbles(n: i64, at: i64, case: i64) -> i64 {
    let file = format!("stumbled-{case}");
    let before = std::fs::metadata(&file).map_or(0, |m| m.len());
    if n == at && before < 2 {
        let written = std::fs::write(&file, vec![b'.'; before as usize + 1]);
        assert!(written.is_err(), "row {n} is in the way");
    }
    n
}

const PARTITIONS: u32 = 4;
const KEYS: u64 = 50;

/// The rows of all partitions take turns: row `number` is the `number / KEYS`-th of its key.
fn tick(partition: u32, row: u64) -> Tick {
    let number = row * u64::from(PARTITIONS) + u64::from(partition);
    Tick { key: (number % KEYS) as i64, n: (number / KEYS) as i64, at: Timestamp::new(number as i64 * 1000) }
}

pipeline! {
    /// Each row with how many its key had: whatever happens, `count` is `n + 1`.
    pub fn ledger(per_second: f64);
    ticks   = source(Source::<Tick>::from(generate(PARTITIONS, tick).rows_per_second(per_second)));
    entries = ticks -> key_by(key) -> keyed(|t| row { count: counted(t.n) });
    entries -> sink;
}

pipeline! {
    /// The same, until a row on which user code panics.
    pub fn poison(per_second: f64, poisoned: i64);
    ticks   = source(Source::<Tick>::from(generate(PARTITIONS, tick).rows_per_second(per_second)));
    entries = ticks -> with(|t| row { same: brittle(t.n, poisoned) }) -> key_by(key) -> keyed(|t| row { count: counted(t.n) });
    entries -> sink;
}

pipeline! {
    /// Rows and sums per key, of a source that ends.
    pub fn totals(rows: u64);
    ticks  = source(generate(PARTITIONS, tick).rows(rows));
    totals = ticks -> key_by(key) -> aggregate(|t| row { rows: count(), total: sum(t.n) }) -> sort(key);
    totals -> sink;
}

/// Takes its time.
#[operator]
fn takes_time(n: i64) -> i64 {
    std::thread::sleep(std::time::Duration::from_millis(1));
    n
}

pipeline! {
    /// What a file has, a row each millisecond.
    pub fn slowly(ticks: Source<Tick, Bounded>);
    kept = ticks -> with(|t| row { same: takes_time(t.n) });
    kept -> sink;
}

/// Does at a row what a file says that the test writes for this process: `sleep`, `panic` or `go`. Until there is one it waits.
#[operator]
fn told(n: i64) -> i64 {
    let Some(dir) = std::env::var_os("SABOT_TEST_DIR").filter(|_| n == 5) else { return n };
    let file = |what: &str| std::path::Path::new(&dir).join(format!("{what}-{}", std::process::id()));
    loop {
        match std::fs::read_to_string(file("do")).as_deref() {
            Ok("sleep") => {
                assert!(std::fs::rename(file("do"), file("asleep")).is_ok());
                std::thread::sleep(std::time::Duration::from_secs(9));
                assert!(std::fs::rename(file("asleep"), file("awake")).is_ok());
                return n;
            }
            Ok("panic") => {
                assert!(std::fs::rename(file("do"), file("panicked")).is_ok());
                assert!(n != 5, "row {n} is poison");
            }
            Ok("go") => return n,
            _ => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    }
}

pipeline! {
    /// Rows and sums per key, of rows at which user code does what it is told.
    pub fn directed(rows: u64);
    ticks  = source(generate(PARTITIONS, tick).rows(rows));
    totals = ticks -> with(|t| row { same: told(t.n) }) -> key_by(key) -> aggregate(|t| row { rows: count(), total: sum(t.n) }) -> sort(key);
    totals -> sink;
}

pipeline! {
    /// The same, which fails once.
    pub fn stumble(rows: u64, case: i64);
    ticks  = source(generate(PARTITIONS, tick).rows(rows));
    totals = ticks -> with(|t| row { same: stumbles(t.n, 3, case) })
                   -> key_by(key) -> aggregate(|t| row { rows: count(), total: sum(t.same) }) -> sort(key);
    totals -> sink;
}

pipeline! {
    /// Of a source that ends, but not soon.
    pub fn slow(rows: u64);
    ticks  = source(generate(PARTITIONS, tick).rows_per_second(20.0).rows(rows));
    totals = ticks -> key_by(key) -> aggregate(|t| row { rows: count(), total: sum(t.n) }) -> sort(key);
    totals -> sink;
}

pipeline! {
    /// What the caller binds.
    pub fn bound(ticks: Source<Tick, Bounded>);
    kept = ticks -> filter(|t| t.n >= 0);
    kept -> sink;
}

/// The jobs of requests.
fn requested(pipeline: &str) -> Option<sabot::stream::Job> {
    let job = match pipeline {
        "ledger" => ledger(25.0).settings(|s| s.disorder = 10_000).sink("entries", to("csv:@OUT@/")).options(|o| {
            o.checkpoint_dir = Some("@STATE@".into());
            o.checkpoint_every = std::time::Duration::from_secs(1);
        }),
        "totals" => totals(200).sink("totals", to("@OUT@.csv")),
        "stumble" => stumble(200, 77_777).sink("totals", to("@OUT@.csv")),
        "slow" => slow(100_000).sink("totals", to("@OUT@.csv")),
        _ => return None,
    };
    Some(job.options(|o| o.threads = 1))
}

fn main() -> Result<()> {
    watched::run(requested).unwrap_or_else(sabot::main)
}
