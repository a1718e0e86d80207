//! Steering a running job from outside: cancel, stop, snapshot.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

use super::Checkpoint;
use super::job::Job;
use super::util::lock;
use crate::{Error, Result};

/// A handle on one job. Clones steer the same job. What is asked before the job starts happens at its start.
///
/// ```
/// use sabot::prelude::*;
/// use sabot::runtime::Control;
///
/// #[derive(Record, Clone, Debug)]
/// struct Tick { n: i64 }
///
/// pipeline! {
///     /// All of them.
///     pub fn ticks(ticks: Source<Tick>);
///     ticks -> filter(|t| t.n >= 0) -> sink(to("blackhole:"));
/// }
///
/// # fn main() -> Result<()> {
/// let endless = || ticks(generate(1, |_, row| Tick { n: row as i64 }));
/// let control = Control::new();
/// control.stop(); // before the start: the job ends at its start, in good order
/// assert!(endless().run_with(&control).is_ok());
/// let control = Control::new();
/// let other = control.clone();
/// std::thread::spawn(move || other.cancel());
/// assert!(matches!(endless().run_with(&control), Err(Error::Cancelled)));
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Control {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cancelled: AtomicBool,
    stopped: AtomicBool,
    job: Mutex<Attached>,
}

#[derive(Default)]
struct Attached {
    job: Weak<Job>,
    early: Vec<Ticket>,
    over: bool,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("cancelled", &self.is_cancelled()).field("stopped", &self.is_stopped()).finish()
    }
}

impl Control {
    /// A handle for a job to come.
    pub fn new() -> Self {
        Self::default()
    }
    /// Ends the job at once: sinks abort, the job returns [`Error::Cancelled`].
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, SeqCst);
        if let Some(job) = self.job() {
            job.fail(Error::Cancelled);
        }
    }
    /// Ends the job gracefully: sources end where they are, time goes to its end, all rows drain, sinks commit.
    pub fn stop(&self) {
        self.shared.stopped.store(true, SeqCst);
        if let Some(job) = self.job() {
            job.wake_sources();
        }
    }
    /// Asks for a checkpoint, without waiting. Needs [`RunOptions::checkpoints`](super::RunOptions::checkpoints).
    pub fn request_snapshot(&self) -> Ticket {
        let ticket = Ticket::default();
        let mut attached = lock(&self.shared.job);
        match attached.job.upgrade() {
            _ if attached.over => ticket.fill(Err(Error::Checkpoint("the job is over".into()))),
            Some(job) => {
                drop(attached);
                job.snapshot(ticket.clone());
            }
            None => attached.early.push(ticket.clone()),
        }
        ticket
    }
    /// Takes a checkpoint; waits for it. Not to be called from a thread that the job needs to go on.
    ///
    /// # Errors
    /// If the job does not allow checkpoints, fails, or is over.
    pub fn snapshot(&self) -> Result<Checkpoint> {
        self.request_snapshot().wait()
    }
    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(SeqCst)
    }
    /// Whether [`stop`](Self::stop) was called.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(SeqCst)
    }
    fn job(&self) -> Option<Arc<Job>> {
        lock(&self.shared.job).job.upgrade()
    }
    /// The job starts: from now on it hears calls itself. Returns snapshots asked for before.
    pub(super) fn attach(&self, job: &Arc<Job>) -> Vec<Ticket> {
        let mut attached = lock(&self.shared.job);
        attached.job = Arc::downgrade(job);
        attached.over = false;
        std::mem::take(&mut attached.early)
    }
    pub(super) fn detach(&self) {
        let mut attached = lock(&self.shared.job);
        attached.job = Weak::new();
        attached.over = true;
        for ticket in attached.early.drain(..) {
            ticket.fill(Err(Error::Checkpoint("the job is over".into())));
        }
    }
}

/// A checkpoint to come.
///
/// Example: [`Checkpoint`].
#[derive(Clone, Default)]
pub struct Ticket {
    slot: Arc<(Mutex<Option<Result<Checkpoint>>>, Condvar)>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket")
    }
}

impl Ticket {
    /// Waits for the checkpoint.
    ///
    /// # Errors
    /// As for [`Control::snapshot`].
    pub fn wait(self) -> Result<Checkpoint> {
        let mut slot = lock(&self.slot.0);
        loop {
            match slot.take() {
                Some(result) => return result,
                None => slot = self.slot.1.wait(slot).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
    /// The checkpoint, if it is complete and was not taken yet.
    pub fn try_take(&self) -> Option<Result<Checkpoint>> {
        lock(&self.slot.0).take()
    }
    pub(super) fn fill(&self, result: Result<Checkpoint>) {
        *lock(&self.slot.0) = Some(result);
        self.slot.1.notify_all();
    }
}
