//! Letting a simulation go on only up to a moment: for tests that move the clock themselves.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How far a [`Simulated`](super::Simulated) executor may go. Clones steer the same one.
#[derive(Clone, Default)]
pub struct Pace {
    shared: Arc<(Mutex<Paced>, Condvar)>,
}

#[derive(Default)]
struct Paced {
    /// Timers due later do not run.
    until: Duration,
    /// How often someone let it go on, and how much of that the executor has seen.
    asked: u64,
    seen: u64,
    /// Nothing is left to do up to `until`.
    quiet: bool,
    /// Everything stops, nothing is told.
    dead: bool,
    /// Nobody drives the executor any more.
    over: bool,
}

/// What the executor does next when it has nothing to run.
pub(super) enum Leave {
    /// Time goes on to the next timer.
    Timer,
    /// Time is this, and someone may have given work from outside.
    Look(Duration),
    /// It ends.
    Dead,
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pace")
    }
}

impl Pace {
    fn lock(&self) -> std::sync::MutexGuard<'_, Paced> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Lets everything run that is due up to this time since the start; waits until nothing of it is left. Returns `false` if the
    /// executor has ended.
    pub fn run_until(&self, time: Duration) -> bool {
        let mut paced = self.lock();
        paced.until = paced.until.max(time);
        paced.asked += 1;
        paced.quiet = false;
        self.shared.1.notify_all();
        while !paced.quiet && !paced.over {
            paced = self.shared.1.wait(paced).unwrap_or_else(PoisonError::into_inner);
        }
        !paced.over
    }
    /// The time up to which everything has run.
    pub fn now(&self) -> Duration {
        self.lock().until
    }
    /// Stops the executor dead: all work is dropped.
    pub fn kill(&self) {
        self.lock().dead = true;
        self.shared.1.notify_all();
    }
    /// The executor's side: nothing is left to do before `due`. Waits for leave to go on.
    pub(super) fn leave(&self, due: Option<Duration>) -> Leave {
        let mut paced = self.lock();
        loop {
            if paced.dead {
                return Leave::Dead;
            }
            if due.is_some_and(|due| due <= paced.until) {
                return Leave::Timer;
            }
            if paced.seen != paced.asked {
                paced.seen = paced.asked;
                return Leave::Look(paced.until);
            }
            paced.quiet = true;
            self.shared.1.notify_all();
            paced = self.shared.1.wait(paced).unwrap_or_else(PoisonError::into_inner);
        }
    }
    /// Whether the executor shall end.
    pub(super) fn is_dead(&self) -> bool {
        self.lock().dead
    }
    /// Nobody drives the executor any more; whoever waits need not.
    pub(crate) fn end(&self) {
        self.lock().over = true;
        self.shared.1.notify_all();
    }
}
