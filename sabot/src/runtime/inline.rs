//! The executor of small jobs: the calling thread does everything, first in, first out.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::executor::{on_thread, split_mix};
use super::timers::Timers;
use super::{Done, Executor, Run};

/// Runs all work on the thread that drives. Starts no thread, so a small job costs microseconds.
///
/// Example: [`Simulated`](super::Simulated).
pub struct Inline {
    start: Instant,
    /// The time of day at the start.
    epoch: Duration,
    state: Mutex<State>,
    nudged: Condvar,
    #[cfg(feature = "async")]
    tokio: super::tokio::Tokio,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Run>,
    timers: Timers,
    seed: u64,
}

impl std::fmt::Debug for Inline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inline")
    }
}

impl Default for Inline {
    fn default() -> Self {
        Inline {
            start: Instant::now(),
            epoch: crate::clock::time_of_day(),
            state: Mutex::default(),
            nudged: Condvar::new(),
            #[cfg(feature = "async")]
            tokio: super::tokio::Tokio::new(),
        }
    }
}

impl Inline {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Executor for Inline {
    fn threads(&self) -> usize {
        1
    }
    fn worker(&self) -> usize {
        0
    }
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
    fn wall(&self) -> Duration {
        self.epoch + self.start.elapsed()
    }
    fn random(&self) -> u64 {
        split_mix(&mut self.lock().seed)
    }
    fn spawn(&self, run: Run) {
        self.lock().queue.push_back(run);
        self.nudged.notify_all();
    }
    fn aside(&self, run: Run) {
        if let Err(run) = on_thread(run) {
            self.spawn(run);
        }
    }
    fn after(&self, delay: Duration, run: Run) {
        let due = self.now() + delay;
        self.lock().timers.add(due, run);
        self.nudged.notify_all();
    }
    #[cfg(feature = "async")]
    fn future(&self, future: crate::operator::Beside) -> crate::Result<crate::operator::Flight> {
        self.tokio.run(future)
    }
    fn drive(&self, done: &Done) -> bool {
        let mut state = self.lock();
        loop {
            if done.is_set() {
                return true;
            }
            let now = self.now();
            if let Some(run) = state.timers.pop(now) {
                state.queue.push_back(run);
                continue;
            }
            state = if let Some(run) = state.queue.pop_front() {
                drop(state);
                run();
                self.lock()
            } else if let Some(due) = state.timers.next_due() {
                self.nudged.wait_timeout(state, due.saturating_sub(now)).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.nudged.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }
    fn nudge(&self) {
        drop(self.lock());
        self.nudged.notify_all();
    }
}
