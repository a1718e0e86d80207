//! Tests of Sabot across its layers: what they share.

use sabot::record::Named;
use sabot::stream::Job;
use sabot::testing::{Trial, same_rows};

/// Whether rows come in the order that is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// They do: the contract *Order* promises it.
    Same,
    /// They need not.
    Any,
}

/// Runs a job on 1, 2, 3 and 8 threads with morsels of 1, 7, 64, 1000 and 65536 rows, optimised and not, on the pool,
/// and under some seeds of the simulation: all must give the expected rows, and the same bits as each other.
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
}
