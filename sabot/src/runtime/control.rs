//! Steering a running job from outside: cancel, stop, snapshot, savepoint.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

use super::job::Job;
use super::util::lock;
use super::{Checkpoint, Savepoint};
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
///     pub fn all_ticks(ticks: Source<Tick>);
///     ticks -> filter(|t| t.n >= 0) -> sink(to("blackhole:"));
/// }
///
/// # fn main() -> Result<()> {
/// let endless = || all_ticks(generate(1, |_, row| Tick { n: row as i64 }));
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
    early: Vec<Asked>,
    over: bool,
}

/// Who waits for a checkpoint.
pub(super) enum Asked {
    /// Someone who wants to hold it.
    Cut(Ticket),
    /// Someone who wants it to be kept under a name.
    Save(Saving),
    /// Someone who wants the job to end with it, for this reason.
    End(String, Ticket<()>),
}

/// A savepoint that is wanted.
pub(super) struct Saving {
    pub(super) name: String,
    /// Whether the job ends with it.
    pub(super) stop: bool,
    pub(super) ticket: Ticket<Savepoint>,
}

impl Asked {
    /// It will not come.
    pub(super) fn refuse(&self, error: Error) {
        match self {
            Asked::Cut(ticket) => ticket.fill(Err(error)),
            Asked::Save(saving) => saving.ticket.fill(Err(error)),
            Asked::End(_, ticket) => ticket.fill(Err(error)),
        }
    }
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
        self.want(Asked::Cut(ticket.clone()));
        ticket
    }
    fn want(&self, asked: Asked) {
        let mut attached = lock(&self.shared.job);
        match attached.job.upgrade() {
            _ if attached.over => asked.refuse(Error::Checkpoint("the job is over".into())),
            Some(job) => {
                drop(attached);
                job.want(asked);
            }
            None => attached.early.push(asked),
        }
    }
    /// Asks for a savepoint of this name, without waiting: a checkpoint that stays until it is deleted, with all of its states in one
    /// file. It is there when all sinks have published what belongs to it. With `stop` the job then ends with [`Error::Suspended`],
    /// as it is: no window closes, and what was read behind the savepoint will be read again. Needs
    /// [`RunOptions::checkpoint_dir`](super::RunOptions::checkpoint_dir).
    pub fn request_savepoint(&self, name: &str, stop: bool) -> Ticket<Savepoint> {
        let ticket = Ticket::default();
        match super::savepoints::check_name(name) {
            Ok(()) => self.want(Asked::Save(Saving { name: name.to_owned(), stop, ticket: ticket.clone() })),
            Err(error) => ticket.fill(Err(error)),
        }
        ticket
    }
    /// Makes a savepoint; waits for it. Not to be called from a thread that the job needs to go on.
    ///
    /// # Errors
    /// If there is one of this name, the job keeps no checkpoints in a directory, fails, or is over.
    pub fn savepoint(&self, name: &str) -> Result<Savepoint> {
        self.request_savepoint(name, false).wait()
    }
    /// Makes a savepoint and ends the job with it; waits for the savepoint.
    ///
    /// # Errors
    /// As for [`savepoint`](Self::savepoint); the job then goes on.
    pub fn stop_with_savepoint(&self, name: &str) -> Result<Savepoint> {
        self.request_savepoint(name, true).wait()
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
    /// The job starts: from now on it hears calls itself. Returns what was asked for before.
    pub(super) fn attach(&self, job: &Arc<Job>) -> Vec<Asked> {
        let mut attached = lock(&self.shared.job);
        attached.job = Arc::downgrade(job);
        attached.over = false;
        std::mem::take(&mut attached.early)
    }
    pub(super) fn detach(&self) {
        let mut attached = lock(&self.shared.job);
        attached.job = Weak::new();
        attached.over = true;
        for asked in attached.early.drain(..) {
            asked.refuse(Error::Checkpoint("the job is over".into()));
        }
    }
}

/// A checkpoint, or a [`Savepoint`], to come.
///
/// Example: [`Checkpoint`].
pub struct Ticket<T = Checkpoint> {
    slot: Arc<(Mutex<Option<Result<T>>>, Condvar)>,
}

impl<T> Clone for Ticket<T> {
    fn clone(&self) -> Self {
        Ticket { slot: Arc::clone(&self.slot) }
    }
}

impl<T> Default for Ticket<T> {
    fn default() -> Self {
        Ticket { slot: Arc::new((Mutex::new(None), Condvar::new())) }
    }
}

impl<T> std::fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket")
    }
}

impl<T> Ticket<T> {
    /// Waits for it.
    ///
    /// # Errors
    /// As for [`Control::snapshot`] and [`Control::savepoint`].
    pub fn wait(self) -> Result<T> {
        let mut slot = lock(&self.slot.0);
        loop {
            match slot.take() {
                Some(result) => return result,
                None => slot = self.slot.1.wait(slot).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
    /// It, if it is complete and was not taken yet.
    pub fn try_take(&self) -> Option<Result<T>> {
        lock(&self.slot.0).take()
    }
    pub(super) fn fill(&self, result: Result<T>) {
        *lock(&self.slot.0) = Some(result);
        self.slot.1.notify_all();
    }
}
