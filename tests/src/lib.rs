//! Tests of Sabot across its layers: what they share.

mod checksum;

pub use checksum::{Checksum, ChecksumSink, checksum, concat, peak_memory};

use sabot::record::Named;
use sabot::runtime::Checkpoint;
use sabot::stream::Job;
use sabot::testing::{Ran, Trial, same_rows};

/// Whether rows come in the order that is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// They do: the contract *Order* promises it.
    Same,
    /// They need not.
    Any,
}

/// Runs a job on 1, 2, 3 and 8 threads with morsels of 1, 7, 64, 1000 and 65536 rows, optimised and not, on the pool,
/// and under some seeds of the simulation, in 1, 2 and 3 processes too: all must give the expected rows, and the same bits as each other.
///
/// `tolerance` is for floats that were computed in another order than the expected ones.
///
/// # Panics
/// If they do not.
#[allow(clippy::panic)]
pub fn everywhere<T: Named + std::fmt::Debug>(job: impl Fn() -> Job, sink: &str, expected: &[T], order: Order, tolerance: f64) {
    let text = |rows: &[T]| rows.iter().map(|r| format!("{r:?}")).collect::<Vec<_>>();
    let mut first: Option<Vec<T>> = None;
    let mut one = |what: &str, trial: Trial, job: Job| {
        let ran = trial.run(job).unwrap_or_else(|e| panic!("{what}: {e}"));
        let rows: Vec<T> = ran.rows(sink).unwrap_or_else(|e| panic!("{what}: {e}"));
        same_rows(&rows, expected, tolerance).unwrap_or_else(|e| panic!("{what}: {e}"));
        if order == Order::Same && tolerance == 0.0 {
            assert_eq!(text(&rows), text(expected), "{what}: order");
        }
        match &first {
            Some(first) if order == Order::Same => assert_eq!(text(&rows), text(first), "{what}: not as the first run"),
            Some(first) => same_rows(&rows, first, 0.0).unwrap_or_else(|e| panic!("{what}: not as the first run: {e}")),
            None => first = Some(rows),
        }
    };
    for threads in [1, 2, 3, 8] {
        for morsel in [1, 7, 64, 1000, 65_536] {
            let optimise = (threads + morsel) % 2 == 0;
            let trial = Trial::new().threads(threads).morsel_rows(morsel);
            one(&format!("{threads} threads, {morsel} rows, optimise {optimise}"), trial, job().optimise(optimise));
        }
    }
    for seed in 0..4 {
        let trial = Trial::new().threads(1 + seed as usize).morsel_rows(5).seed(seed);
        one(&format!("seed {seed}"), trial, job().optimise(seed % 2 == 1));
    }
    for (seed, threads) in (0..6).zip([1, 2, 3, 8, 1, 2]) {
        let shares = 1 + seed as usize % 3;
        let trial = Trial::new().threads(threads).morsel_rows(5).seed(seed).shares(shares);
        one(&format!("seed {seed}, {threads} instances in {shares} processes"), trial, job().optimise(seed % 2 == 1));
    }
    restarted(&job, sink, 0..8, first.as_deref().unwrap_or(&[]), order);
}

/// What a job gives that took a checkpoint, crashed, and went on.
#[derive(Debug)]
pub struct Restart {
    /// How it was run.
    pub what: String,
    /// What it went on from.
    pub checkpoint: Option<Checkpoint>,
    /// Its rows.
    pub ran: Ran,
}

/// Takes a checkpoint somewhere, crashes, and goes on with another number of threads, and of processes, all by the seed.
///
/// # Panics
/// If it fails.
#[allow(clippy::panic)]
pub fn restart(job: &impl Fn() -> Job, seed: u64) -> Restart {
    let (threads, later) = (1 + seed as usize % 3, 1 + (seed as usize / 2) % 3);
    // none: in this process, without shares
    let shares = [None, Some(2), None, Some(1), Some(3), None, Some(2), Some(3)];
    let of = |seed: u64| shares.get(seed as usize % shares.len()).copied().flatten();
    let (processes, after) = (of(seed), of(seed + 3));
    let what = format!("seed {seed}, {threads} threads, then {later}; processes: {processes:?}, then {after:?}");
    let fail = |e: sabot::Error| -> ! { panic!("{what}: {e}") };
    let trial = |threads, processes: Option<usize>| {
        let trial = Trial::new().threads(threads).morsel_rows(6);
        processes.map_or(trial.clone(), |n| trial.shares(n))
    };
    let steps = trial(threads, processes).seed(seed).snapshot_at(u64::MAX).run(job()).unwrap_or_else(|e| fail(e)).steps;
    let cut = steps * (1 + seed % 5) / 6;
    let ran =
        trial(threads, processes).seed(seed).snapshot_at(cut).crash_at(steps.saturating_sub(1)).run(job()).unwrap_or_else(|e| fail(e));
    let checkpoint = ran.checkpoint;
    let ran = trial(later, after).seed(seed + 100).from(checkpoint.clone()).run(job()).unwrap_or_else(|e| fail(e));
    Restart { what, checkpoint, ran }
}

/// For each seed: takes a checkpoint somewhere, crashes, and goes on with another number of threads. Nothing is lost, nothing repeated,
/// and rows that have an order keep it.
///
/// # Panics
/// If they do not.
#[allow(clippy::panic)]
pub fn restarted<T: Named + std::fmt::Debug>(
    job: &impl Fn() -> Job,
    sink: &str,
    seeds: std::ops::Range<u64>,
    expected: &[T],
    order: Order,
) {
    for seed in seeds {
        let Restart { what, ran, .. } = restart(job, seed);
        let rows: Vec<T> = ran.rows(sink).unwrap_or_else(|e| panic!("{what}: {e}"));
        same_rows(&rows, expected, 0.0).unwrap_or_else(|e| panic!("{what}: {e}"));
        if order == Order::Same {
            let text = |rows: &[T]| rows.iter().map(|r| format!("{r:?}")).collect::<Vec<_>>();
            assert_eq!(text(&rows), text(expected), "{what}: order");
        }
    }
}

/// Lets others go first, so many times: in a simulation the calls end in an order that the seed chooses.
pub async fn give_way(times: u64) {
    for _ in 0..times {
        let mut gave = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut gave, true) {
                return std::task::Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    }
}
