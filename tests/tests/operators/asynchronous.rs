//! Async operators: limits, timeouts, retries, errors, panics, cancellation, event time, and tokio around them.

#![allow(unreachable_pub)]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use sabot::prelude::*;
use sabot::runtime::Control;
use sabot::testing::{Trial, same_rows};
use sabot_tests::give_way;

/// A number.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct N {
    pub n: i64,
}
/// A number and what became of it.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Made {
    pub n: i64,
    pub made: Option<i64>,
}

fn numbers(rows: i64) -> Vec<N> {
    (0..rows).map(|n| N { n }).collect()
}
fn made(rows: i64) -> Vec<Made> {
    (0..rows).map(|n| Made { n, made: Some(n + 1) }).collect()
}

macro_rules! one_step {
    ($name:ident, $operator:ident $(-> $step:ident($policy:ident))?) => {
        pipeline! {
            /// One call per row.
            pub fn $name(numbers: Source<N>);
            out = numbers -> with(|x| row { made: $operator(x.n).await }) $(-> $step($policy))? -> select(|x| row Made { n: x.n, made: Some(x.made) });
            out -> sink;
        }
    };
}

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[operator(max_in_flight = 8)]
async fn counted(n: i64) -> i64 {
    MOST.fetch_max(NOW.fetch_add(1, SeqCst) + 1, SeqCst);
    tokio::time::sleep(Duration::from_millis(1 + n as u64 % 3)).await;
    NOW.fetch_sub(1, SeqCst);
    n + 1
}
one_step!(counts, counted);

#[test]
fn the_limit_is_reached_and_kept() {
    for threads in [1, 4] {
        let ran = Trial::new().threads(threads).morsel_rows(50).run(counts(numbers(600))).unwrap();
        assert_eq!(ran.rows::<Made>("out").unwrap(), made(600), "{threads} threads");
        assert_eq!((NOW.load(SeqCst), MOST.swap(0, SeqCst)), (0, 8), "{threads} threads");
    }
}

#[test]
fn it_stays_a_function() {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert_eq!(tokio.block_on(fussy(3)), Ok(4));
    assert_eq!(tokio.block_on(fussy(17)), Err("17 is too much".to_owned()));
}

#[operator(max_in_flight = 4)]
async fn fussy(n: i64) -> std::result::Result<i64, String> {
    if n == 17 { Err(format!("{n} is too much")) } else { Ok(n + 1) }
}
one_step!(fussily, fussy -> on_error(fail));

#[operator]
async fn clumsy(n: i64) -> i64 {
    tokio::time::sleep(Duration::from_micros(50)).await;
    assert!(n != 17, "fell over {n}");
    n + 1
}
one_step!(clumsily, clumsy);

#[operator(timeout = "300ms")]
async fn stuck(n: i64) -> i64 {
    if n == 17 {
        std::future::pending::<()>().await;
    }
    n + 1
}
one_step!(stickily, stuck -> on_error(fail));

#[test]
fn errors_name_operator_row_and_reason() {
    let threads = |t: usize| move || Trial::new().threads(t).morsel_rows(10);
    for trial in [threads(1), threads(3)] {
        let error = trial().run(fussily(numbers(100))).unwrap_err().to_string();
        assert!(error.contains("fussily/out/async (fussy)") && error.contains("failed: 17 is too much at row 17 of split 0"), "{error}");
        let error = trial().run(clumsily(numbers(100))).unwrap_err().to_string();
        assert!(error.contains("clumsily/out/async (clumsy)") && error.contains("panicked: fell over 17"), "{error}");
        assert!(error.contains("operators/asynchronous.rs:") && error.contains("at row 17 of"), "{error}");
        let error = trial().run(stickily(numbers(100))).unwrap_err().to_string();
        assert!(error.contains("stickily/out/async (stuck)") && error.contains("timed out after 300ms at row 17 of"), "{error}");
    }
    // the same by the clock of a simulation
    for seed in 0..10 {
        let error = Trial::new().threads(2).morsel_rows(3).seed(seed).run(stickily(numbers(100))).unwrap_err().to_string();
        assert!(error.contains("timed out after 300ms at row 17 of"), "{error}");
    }
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Fails at the first two calls for every tenth number, in one of two ways.
#[operator(retry = 2, retry_wait = "1ms", timeout = "20ms", max_in_flight = 3)]
async fn flaky(n: i64) -> std::result::Result<i64, String> {
    let call = CALLS.fetch_add(1, SeqCst);
    let tries = TRIES.lock().unwrap().entry(n).and_modify(|t| *t += 1).or_insert(1).to_owned();
    match (n % 10, tries) {
        (0, 1) => Err(format!("call {call}")),
        (0, 2) => std::future::pending().await,
        _ => Ok(n + 1),
    }
}
static TRIES: std::sync::Mutex<std::collections::BTreeMap<i64, usize>> = std::sync::Mutex::new(std::collections::BTreeMap::new());
one_step!(flakily, flaky -> on_error(fail));

#[operator(retry = 2, retry_wait = "1us")]
async fn hopeless(n: i64) -> std::result::Result<i64, String> {
    Err(format!("no {n}"))
}
one_step!(hopelessly, hopeless -> on_error(fail));

#[test]
fn retries() {
    for (runs, seed) in [None, Some(1), Some(2)].into_iter().enumerate() {
        TRIES.lock().unwrap().clear();
        CALLS.store(0, SeqCst);
        let trial = Trial::new().threads(1 + runs);
        let trial = seed.map_or(trial.clone(), |s| trial.seed(s));
        assert_eq!(trial.run(flakily(numbers(40))).unwrap().rows::<Made>("out").unwrap(), made(40));
        assert_eq!(CALLS.load(SeqCst), 48, "four rows were called three times");
    }
    let error = Trial::new().run(hopelessly(numbers(1))).unwrap_err().to_string();
    assert!(error.contains("failed: no 0 (call 3 of 3) at row 0"), "{error}");
}

static STARTED: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);
struct Dropped;
impl Drop for Dropped {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, SeqCst);
    }
}

#[operator]
async fn hangs(n: i64) -> i64 {
    let _here = Dropped;
    STARTED.fetch_add(1, SeqCst);
    std::future::pending::<()>().await;
    n
}
one_step!(hanging, hangs);

#[test]
fn a_job_is_cancelled_while_calls_hang() {
    for threads in [1, 2] {
        STARTED.store(0, SeqCst);
        DROPPED.store(0, SeqCst);
        let control = Control::new();
        let theirs = control.clone();
        let job = std::thread::spawn(move || {
            hanging(numbers(100_000)).sink("out", sabot::connect::SinkSpec::Blackhole).parallel(threads).run_with(&theirs)
        });
        while STARTED.load(SeqCst) < 64 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let start = Instant::now();
        control.cancel();
        assert!(matches!(job.join().unwrap(), Err(sabot::Error::Cancelled)));
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(STARTED.load(SeqCst), 64);
        while DROPPED.load(SeqCst) < 64 {
            assert!(start.elapsed() < Duration::from_secs(10), "the calls were dropped");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[operator(max_in_flight = 64)]
async fn ten_ms(n: i64) -> i64 {
    tokio::time::sleep(Duration::from_millis(10)).await;
    n + 1
}
one_step!(ten_by_ten, ten_ms);

#[test]
fn calls_overlap() {
    let start = Instant::now();
    let rows = 2000;
    assert_eq!(ten_by_ten(numbers(rows)).parallel(2).collect::<Made>().unwrap(), made(rows));
    // one after the other they take 20 s, 64 at once a third of a second
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

/// `cargo test --release -p sabot-tests --test operators -- --ignored --nocapture throughput`
#[test]
#[ignore = "measures"]
fn throughput() {
    for threads in [1, 2] {
        let start = Instant::now();
        let rows: Vec<Made> = ten_by_ten(numbers(10_000)).parallel(threads).collect().unwrap();
        println!("{} calls of 10 ms, 64 at once, {threads} threads: {:?}", rows.len(), start.elapsed());
        let start = Instant::now();
        let rows: Vec<Made> =
            fussily(numbers(1_000_000).into_iter().filter(|n| n.n != 17).collect::<Vec<_>>()).parallel(threads).collect().unwrap();
        println!("{} calls that do not wait, 4 at once, {threads} threads: {:?}", rows.len(), start.elapsed());
    }
}

static FEW: AtomicUsize = AtomicUsize::new(0);
/// Counts its calls.
#[operator(max_in_flight = 4)]
async fn few(n: i64) -> i64 {
    FEW.fetch_add(1, SeqCst);
    give_way(n as u64 % 3).await;
    n + 1
}
pipeline! {
    /// The first rows only.
    pub fn first_few(numbers: Source<N>);
    out = numbers -> map(few.await) -> limit(10) -> select(|x| row Made { n: x.n, made: Some(x.few) });
    out -> sink;
}

#[test]
fn a_limit_ends_calls() {
    for seed in 0..10 {
        FEW.store(0, SeqCst);
        let ran = Trial::new().threads(1 + seed as usize % 3).morsel_rows(5000).seed(seed).run(first_few(numbers(20_000))).unwrap();
        assert_eq!(ran.rows::<Made>("out").unwrap(), made(10));
        assert!(FEW.load(SeqCst) < 100, "{} calls for 10 rows", FEW.load(SeqCst));
    }
}

#[test]
fn inside_of_tokio() {
    use tokio::runtime::Builder;
    let (one, two) =
        (Builder::new_current_thread().enable_time().build(), Builder::new_multi_thread().worker_threads(2).enable_time().build());
    for tokio in [one.unwrap(), two.unwrap()] {
        tokio.block_on(async {
            assert_eq!(ten_by_ten(numbers(100)).parallel(2).collect::<Made>().unwrap(), made(100), "blocking");
            let job = ten_by_ten(numbers(100)).sink("out", sabot::connect::SinkSpec::Blackhole).parallel(2);
            let report = job.spawn().await.unwrap();
            assert_eq!(report.nodes.last().unwrap().account.rows_in, 100, "awaited");
        });
    }
}

static ASKED: AtomicUsize = AtomicUsize::new(0);

/// Not asked for nulls.
#[operator]
async fn asked(n: i64) -> i64 {
    ASKED.fetch_add(1, SeqCst);
    n + 1
}
pipeline! {
    /// Nulls in, nulls out.
    pub fn nulls(numbers: Source<Made>);
    out = numbers -> with(|x| row { made: asked(x.made?).await }) -> select(|x| row Made { n: x.n, made: x.made });
    out -> sink;
}

#[test]
fn nulls_are_not_called() {
    let rows: Vec<Made> = (0..100).map(|n| Made { n, made: (n % 3 == 0).then_some(n) }).collect();
    let expected: Vec<Made> = rows.iter().map(|r| Made { n: r.n, made: r.made.map(|n| n + 1) }).collect();
    assert_eq!(nulls(rows).collect::<Made>().unwrap(), expected);
    assert_eq!(ASKED.load(SeqCst), 34);
}

/// What a sensor says.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Reading {
    pub n: i64,
    #[event_time]
    pub ts: Timestamp<Micros>,
}
/// Its minutes.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Minute {
    pub kind: i64,
    pub window_start: Timestamp<Micros>,
    pub total: i64,
}

/// One of three.
#[operator(max_in_flight = 7)]
async fn kind(n: i64) -> i64 {
    give_way(n as u64 % 6).await;
    n % 3
}
/// One of three, in any order.
#[operator(max_in_flight = 7, unordered)]
async fn any_kind(n: i64) -> i64 {
    kind(n).await
}
pipeline! {
    /// Windows behind calls.
    pub fn minutes(readings: Source<Reading>);
    minutes = readings -> map(kind.await) -> key_by(kind) -> window(tumbling(1.minute())) -> aggregate(|r| row { total: sum(r.n) });
    minutes -> sink;
}
pipeline! {
    /// Windows behind calls in any order.
    pub fn any_minutes(readings: Source<Reading>);
    minutes = readings -> with(|r| row { kind: any_kind(r.n).await }) -> key_by(kind) -> window(tumbling(1.minute())) -> aggregate(|r| row { total: sum(r.n) });
    minutes -> sink;
}

fn reading(_: u32, row: u64) -> Reading {
    Reading { n: row as i64, ts: Timestamp::new(row as i64 * 3_000_000) }
}

/// Watermarks do not overtake rows in flight: no window closes without them, none of them is late.
#[test]
fn event_time_waits_for_calls() {
    let mut windows = 0;
    for seed in 0..40u64 {
        let job = if seed % 2 == 0 { minutes(generate(1, reading)) } else { any_minutes(generate(1, reading)) };
        let trial = Trial::new().threads(1 + seed as usize % 3).morsel_rows([1, 5, 40][seed as usize % 3]).seed(seed);
        let ran = trial.stop_at(500 + seed * 60).run(job).unwrap();
        let account = |name: &str| ran.report.as_ref().unwrap().nodes.iter().find(|n| n.name.contains(name)).unwrap().account;
        let consumed = account("async").rows_in;
        let rows: Vec<Minute> = ran.rows("minutes").unwrap();
        let batch: Vec<Reading> = (0..consumed).map(|r| reading(0, r)).collect();
        same_rows(&rows, &minutes(batch).sequential().collect::<Minute>().unwrap(), 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(ran.late(), 0, "seed {seed}");
        windows += rows.len();
        // not all at the end: results flow while calls are out
        let sent = account("aggregate");
        assert!(sent.rows_out > 0, "seed {seed}");
    }
    assert!(windows > 200, "{windows} windows");
}

#[test]
fn a_stream_of_calls_is_restored() {
    let mut restored = 0;
    for seed in 0..30u64 {
        let job = || if seed % 2 == 0 { minutes(generate(2, reading)) } else { any_minutes(generate(2, reading)) };
        let trial = |s: u64| Trial::new().threads(1 + s as usize % 3).morsel_rows(4).seed(s);
        let crash = 300 + seed * 17;
        let ran = trial(seed).snapshot_at(crash / 2).snapshot_at(crash * 2 / 3).crash_at(crash).run(job()).unwrap();
        restored += usize::from(ran.checkpoint.is_some());
        let ran = trial(seed + 7).from(ran.checkpoint).stop_at(400).run(job()).unwrap();
        let all = ran.report.as_ref().unwrap().nodes.iter().find(|n| n.name.contains("async")).unwrap().account.rows_in;
        let rows: Vec<Minute> = ran.rows("minutes").unwrap();
        let total: i64 = rows.iter().map(|r| r.total).sum();
        // two partitions of the same rows: what was consumed is a prefix of each
        let fits = (0..=all as i64).any(|a| a * (a - 1) / 2 + (all as i64 - a) * (all as i64 - a - 1) / 2 == total);
        assert!(fits, "seed {seed}: {all} rows make {total}");
    }
    assert!(restored > 20, "{restored} of 30 had a complete checkpoint");
}

#[test]
fn plans_say_how_it_is_called() {
    let plan = any_minutes(Vec::<Reading>::new()).explain().unwrap();
    assert!(plan.contains("async any_kind -> kind: at most 7 in flight, unordered: rows leave as their calls end"), "{plan}");
    let plan = flakily(Vec::<N>::new()).explain().unwrap();
    assert!(plan.contains("async flaky -> made: at most 3 in flight, timeout 20ms, retried 2 times after 1ms"), "{plan}");
}
