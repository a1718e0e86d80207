//! Trying again after a transient error of input or output: a few times, each time after a longer wait.
//!
//! Nobody sleeps: a task that waits gives its worker back, and a timer of the executor wakes it.

use std::sync::Arc;
use std::time::Duration;

use super::{Done, Executor, RunOptions};
use crate::operator::Pause;
use crate::{Error, Result};

/// The longest wait between two attempts.
const LONGEST: Duration = Duration::from_secs(30);

/// How long an attempt that nothing comes of must meet no error to have gone well: twice the longest wait. Servers may be slow to say what is wrong:
/// librdkafka gives a topic that is not there half a minute to appear.
const CALM: Duration = Duration::from_secs(60);

/// What was tried in vain, and when to try again.
#[derive(Debug, Default)]
pub(super) struct Retry {
    attempts: u32,
    due: Option<Duration>,
    /// When the attempt began of which it is not known yet what comes of it.
    since: Option<Duration>,
}

impl Retry {
    /// After an error: how long to wait, and what to log.
    ///
    /// # Errors
    /// The error itself, if it is not transient or was met too often.
    pub(super) fn pause(&mut self, who: &str, error: Error, (retries, wait): (u32, Duration)) -> Result<Pause> {
        if self.attempts >= retries || !error.is_transient() {
            return Err(error);
        }
        let wait = wait.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts += 1;
        // most errors say whose they are
        let said = error.to_string();
        let who = if said.starts_with(who) { String::new() } else { format!("{who}: ") };
        Ok(Pause { wait, why: format!("{who}{said}; attempt {} of {retries} to repeat it follows in {wait:?}", self.attempts) })
    }
    /// As [`pause`](Self::pause), which ends at a time of the job's clock.
    pub(super) fn until(&mut self, now: Duration, who: &str, error: Error, options: &RunOptions) -> Result<String> {
        let pause = self.pause(who, error, (options.retries, options.retry_wait))?;
        (self.due, self.since) = (Some(now + pause.wait), None);
        Ok(pause.why)
    }
    /// How long to wait still.
    pub(super) fn left(&self, now: Duration) -> Option<Duration> {
        self.due.map(|due| due.saturating_sub(now)).filter(|left| !left.is_zero())
    }
    /// Whether the last attempt failed, and the next has not begun.
    pub(super) fn pending(&self) -> bool {
        self.due.is_some()
    }
    /// It is being tried again.
    pub(super) fn trying(&mut self, now: Duration) {
        (self.due, self.since) = (None, Some(now));
    }
    /// There was no error, but nothing came of it yet either.
    pub(super) fn quiet(&mut self, now: Duration) {
        if self.since.is_some_and(|since| now.saturating_sub(since) >= CALM) {
            self.over();
        }
    }
    /// It went well.
    pub(super) fn over(&mut self) {
        *self = Retry::default();
    }
}

/// Calls `f` until it succeeds, on the thread that started the job, which lends itself to the executor meanwhile.
pub(super) fn patiently(
    executor: &Arc<dyn Executor>,
    options: &RunOptions,
    events: &mut Vec<String>,
    who: &str,
    mut f: impl FnMut() -> Result<()>,
) -> Result<()> {
    let mut retry = Retry::default();
    while let Err(error) = f() {
        let pause = retry.pause(who, error, (options.retries, options.retry_wait))?;
        events.push(pause.why);
        let done = Arc::new(Done::default());
        let (set, awake) = (Arc::clone(&done), Arc::downgrade(executor));
        let rise = move || {
            set.set();
            awake.upgrade().iter().for_each(|e| e.nudge());
        };
        executor.after(pause.wait, Box::new(rise));
        if !executor.drive(&done) {
            return Err(Error::internal("the executor stopped before the job was over"));
        }
    }
    Ok(())
}
