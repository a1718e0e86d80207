//! The one door of the control plane to time, tasks and threads.
//!
//! Idea: whatever the server, its workflows and an agent's session want of a clock or of tokio, they ask for here. In production that is tokio; in a
//! simulation (`tests/world.rs`) it is a virtual clock and a seeded choice of who goes on, so that every run can be repeated, and a process may be
//! killed or frozen at any `await`.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

#[cfg(test)]
use super::tests::world;
use crate::runtime::share::Lead;
use crate::runtime::{Executor, Inline};
use crate::{Error, Result};

/// Time since this process asked first. Never goes back.
pub(super) fn now() -> Duration {
    #[cfg(test)]
    if let Some(world) = world::here() {
        return world.now();
    }
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// The time of day, since the Unix epoch.
pub(super) fn time_of_day() -> Duration {
    #[cfg(test)]
    if let Some(world) = world::here() {
        return world.time_of_day();
    }
    crate::clock::time_of_day()
}

/// The same in milliseconds.
pub(super) fn timestamp() -> i64 {
    i64::try_from(time_of_day().as_millis()).unwrap_or(i64::MAX)
}

/// Waits.
pub(super) async fn sleep(time: Duration) {
    #[cfg(test)]
    if let Some(world) = world::here() {
        return world.sleep(time).await;
    }
    tokio::time::sleep(time).await;
}

/// Waits for something, but not for longer than this.
pub(super) async fn timeout<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = sleep(time) => None,
    }
}

/// Times at which something is done again and again, the first at once. One that was missed is not made up for.
pub(super) struct Ticks {
    next: Duration,
    every: Duration,
}
impl Ticks {
    pub(super) fn every(every: Duration) -> Self {
        Ticks { next: now(), every }
    }
    /// Waits for the next. May be given up half way.
    pub(super) async fn tick(&mut self) {
        let wait = self.next.saturating_sub(now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
        self.next = now() + self.every;
    }
}

/// A task. It goes on when this is dropped.
pub(super) struct Task(Option<tokio::task::AbortHandle>);
impl Task {
    /// Ends it at its `await`.
    pub(super) fn abort(&self) {
        self.0.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

/// Runs something beside the caller, in its process.
pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Task {
    #[cfg(test)]
    if let Some(world) = world::here() {
        world.spawn(task);
        return Task(None);
    }
    Task(Some(tokio::spawn(task).abort_handle()))
}

/// Runs what blocks, but waits for nothing that this process does: reading files, planning.
///
/// # Errors
/// Its own.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    #[cfg(test)]
    if world::here().is_some() {
        breath().await;
        let done = work();
        breath().await;
        return done;
    }
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("work of the server: {e}")))?
}

/// What a lead's own work runs on.
pub(super) fn executor() -> Arc<dyn Executor> {
    #[cfg(test)]
    if let Some(world) = world::here() {
        return world.executor();
    }
    Arc::new(Inline::default())
}

/// Drives a lead to its end, and calls `then`, where [`Lead::wait`] answers at once.
///
/// # Errors
/// If the system refuses a thread.
pub(super) fn driven(name: &str, lead: Arc<Lead>, then: impl FnOnce(Arc<Lead>) + Send + 'static) -> Result<()> {
    #[cfg(test)]
    if let Some(world) = world::here() {
        let over = Arc::clone(&lead);
        world.spawn_when(move || over.is_over(), Box::new(move || then(lead)));
        return Ok(());
    }
    let thread = std::thread::Builder::new().name(format!("lead-{name}")).spawn(move || then(lead));
    thread.map(drop).map_err(|e| Error::io("a thread", "cannot start it for a job's lead", e))
}

/// A place between two effects: a simulation may let others go on here, or kill the process. Nothing in production.
pub(super) async fn breath() {
    #[cfg(test)]
    if let Some(world) = world::here() {
        world.breath().await;
    }
}

/// Says something on the server's terminal.
pub(super) fn tell(line: &str) {
    #[cfg(test)]
    if let Some(world) = world::here() {
        return world.note(line);
    }
    eprintln!("{line}");
}
