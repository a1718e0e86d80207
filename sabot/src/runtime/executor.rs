//! The one door to threads, clocks, random numbers and timers.
//!
//! Idea: the engine is a set of small state machines that say "run me" and "run me after a while". Who runs them, in
//! which order and by which clock is this trait. Production runs them on rayon ([`Pool`](super::Pool)) or on the
//! calling thread ([`Inline`](super::Inline)); tests run them one by one in a seeded random order under a virtual clock
//! ([`Simulated`](super::Simulated)), so that every failing interleaving can be repeated from its seed.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// A piece of work. It never blocks on another piece; reading a file is fine.
///
/// Example: [`Simulated`](super::Simulated).
pub type Run = Box<dyn FnOnce() + Send + 'static>;

/// Runs pieces of work.
///
/// Example: [`Simulated`](super::Simulated).
pub trait Executor: Send + Sync {
    /// How many pieces run at once at most.
    fn threads(&self) -> usize;
    /// The number of the calling worker, below [`threads`](Self::threads); 0 elsewhere.
    fn worker(&self) -> usize;
    /// Time since this executor was made. Never goes back.
    fn now(&self) -> Duration;
    /// The time of day: since the Unix epoch. Never goes back.
    fn wall(&self) -> Duration;
    /// A random number.
    fn random(&self) -> u64;
    /// Runs this soon.
    fn spawn(&self, run: Run);
    /// Runs this soon, where it may wait for a network: in production on a thread of its own, so that no worker waits.
    fn aside(&self, run: Run) {
        self.spawn(run);
    }
    /// Runs this after at least `delay`, as long as someone [drives](Self::drive).
    fn after(&self, delay: Duration, run: Run);
    /// Runs a future, beside the pieces of work. In production on tokio: the caller's, or one of the executor's own.
    ///
    /// # Errors
    /// If the system refuses threads.
    #[cfg(feature = "async")]
    fn future(&self, future: crate::operator::Beside) -> crate::Result<crate::operator::Flight>;
    /// Lends the calling thread to the executor until `done` is set. Returns `false` if the executor died first, as
    /// only a simulated one can: nothing runs any more.
    fn drive(&self, done: &Done) -> bool;
    /// Tells [`drive`](Self::drive) to look at its `done` again.
    fn nudge(&self);
}

/// Runs a piece on a thread of its own; gives it back if the system refuses one.
pub(super) fn on_thread(run: Run) -> Result<(), Run> {
    let kept = std::sync::Arc::new(std::sync::Mutex::new(Some(run)));
    let taken = std::sync::Arc::clone(&kept);
    let take = |from: &std::sync::Mutex<Option<Run>>| super::util::lock(from).take();
    let thread = std::thread::Builder::new().name("sabot-aside".into()).spawn(move || take(&taken).into_iter().for_each(|run| run()));
    match thread {
        Ok(_) => Ok(()),
        Err(_) => take(&kept).map_or(Ok(()), Err),
    }
}

/// Whether a job is over. After [`set`](Self::set), [`Executor::nudge`] the driver.
///
/// Example: [`Simulated`](super::Simulated).
#[derive(Debug, Default)]
pub struct Done(AtomicBool);

impl Done {
    /// The job is over.
    pub fn set(&self) {
        self.0.store(true, SeqCst);
    }
    /// Whether the job is over.
    pub fn is_set(&self) -> bool {
        self.0.load(SeqCst)
    }
}

/// The next number of the SplitMix64 generator.
pub(super) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
