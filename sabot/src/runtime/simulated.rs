//! The executor of tests: one thread, a virtual clock, a seeded random order, and a crash on demand.
//!
//! Everything that timing can do to a job, this can do on purpose: any runnable task may be next, any may be delayed,
//! time jumps to the next timer when nothing else can run, and the whole may stop dead at a chosen step. The same seed
//! gives the same run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::executor::split_mix;
use super::pace::{Leave, Pace};
use super::timers::Timers;
use super::{Done, Executor, Run};

/// Virtual time that a step takes.
const STEP: Duration = Duration::from_micros(10);

/// The time of day at which it begins: 1 January 2000.
const EPOCH: Duration = Duration::from_secs(946_684_800);

/// One in this many pieces of work is delayed.
const DELAYED: u64 = 16;

/// A deterministic executor.
///
/// ```
/// use std::sync::Arc;
/// use sabot::prelude::*;
/// use sabot::runtime::{Control, Executor, Inline, Pool, Simulated};
///
/// #[derive(Record, Clone, Debug)]
/// struct Number { n: i64 }
///
/// pipeline! {
///     /// Sums by the last digit.
///     pub fn sums(numbers: Source<Number, Bounded>);
///     sums = numbers -> with(|x| row { digit: x.n % 10 }) -> key_by(digit) -> aggregate(|x| row { sum: sum(x.n) });
///     sums -> sink(to("blackhole:"));
/// }
///
/// # fn main() -> Result<()> {
/// let executors: [Arc<dyn Executor>; 3] = [Arc::new(Inline::default()), Arc::new(Pool::new(2)?), Arc::new(Simulated::new(17))];
/// for executor in executors {
///     let job = sums((0..100).map(|n| Number { n }).collect::<Vec<_>>()).parallel(3);
///     let report = job.run_on(executor, &Control::new(), None)?;
///     assert!(report.nodes.iter().any(|n| n.name == "sums/sums/aggregate" && n.account.rows_out == 10));
/// }
/// // a crash before the second step: nothing is told, nothing committed
/// let executor = Arc::new(Simulated::new(17).crash_at(2));
/// assert!(sums(vec![Number { n: 1 }]).run_on(executor.clone(), &Control::new(), None).is_err());
/// assert_eq!(executor.steps(), 2);
/// # Ok(()) }
/// ```
pub struct Simulated {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    random: u64,
    now: Duration,
    ready: Vec<Run>,
    timers: Timers,
    steps: u64,
    crash: Option<u64>,
    hooks: Vec<(u64, Run)>,
    /// Who moves time, if not the executor itself.
    pace: Option<Pace>,
}

impl std::fmt::Debug for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulated").field("steps", &self.steps()).finish_non_exhaustive()
    }
}

impl Simulated {
    /// An executor whose every choice follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Simulated { state: Arc::new(Mutex::new(State { random: seed, ..State::default() })) }
    }
    /// An executor whose time only goes as far as the pace allows, and stands while there is something to do. Nothing is late in it.
    pub fn paced(seed: u64) -> (Self, Pace) {
        let (simulated, pace) = (Self::new(seed), Pace::default());
        simulated.lock().pace = Some(pace.clone());
        (simulated, pace)
    }
    /// Stops dead before step `step`: all work is dropped, nothing is told.
    pub fn crash_at(self, step: u64) -> Self {
        self.lock().crash = Some(step);
        self
    }
    /// Calls `hook` before step `step`, e.g. to request a snapshot or to cancel.
    pub fn at(self, step: u64, hook: impl FnOnce() + Send + 'static) -> Self {
        self.lock().hooks.push((step, Box::new(hook)));
        self
    }
    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Anything that may run next may also be late.
    fn spawn(&mut self, run: Run) {
        let choice = split_mix(&mut self.random);
        if self.pace.is_none() && choice.is_multiple_of(DELAYED) {
            let due = self.now + STEP * (1 + (choice >> 32) as u32 % 50);
            self.timers.add(due, run);
        } else {
            self.ready.push(run);
        }
    }
}

impl Executor for Simulated {
    fn threads(&self) -> usize {
        1
    }
    fn worker(&self) -> usize {
        0
    }
    fn now(&self) -> Duration {
        self.lock().now
    }
    fn wall(&self) -> Duration {
        EPOCH + self.lock().now
    }
    fn random(&self) -> u64 {
        split_mix(&mut self.lock().random)
    }
    fn spawn(&self, run: Run) {
        self.lock().spawn(run);
    }
    fn after(&self, delay: Duration, run: Run) {
        let mut state = self.lock();
        let due = state.now + delay;
        state.timers.add(due, run);
    }
    #[cfg(feature = "async")]
    fn future(&self, future: crate::operator::Beside) -> crate::Result<crate::operator::Flight> {
        Ok(polled::start(&self.state, future))
    }
    fn drive(&self, done: &Done) -> bool {
        loop {
            if done.is_set() {
                return true;
            }
            let mut state = self.lock();
            let step = state.steps;
            if let Some(i) = state.hooks.iter().position(|(at, _)| *at <= step) {
                let (_, hook) = state.hooks.swap_remove(i);
                drop(state);
                hook();
                continue;
            }
            if state.crash.is_some_and(|at| at <= step) || state.pace.as_ref().is_some_and(Pace::is_dead) {
                let lost = (std::mem::take(&mut state.ready), std::mem::take(&mut state.timers));
                drop(state);
                drop(lost);
                return false;
            }
            state.steps += 1;
            let pace = state.pace.clone();
            if pace.is_none() {
                state.now += STEP;
            }
            while let Some(run) = {
                let now = state.now;
                state.timers.pop(now)
            } {
                state.ready.push(run);
            }
            if state.ready.is_empty() {
                if let Some(pace) = pace {
                    let due = state.timers.next_due();
                    drop(state);
                    let time = match pace.leave(due) {
                        Leave::Timer => due.unwrap_or_default(),
                        Leave::Look(time) => time,
                        Leave::Dead => continue,
                    };
                    let mut state = self.lock();
                    state.now = state.now.max(time);
                    continue;
                }
                match state.timers.next_due() {
                    Some(due) => state.now = state.now.max(due),
                    // Nothing can ever run again: the caller sees an unfinished job.
                    None => return done.is_set(),
                }
                continue;
            }
            let pick = (split_mix(&mut state.random) % state.ready.len() as u64) as usize;
            let run = state.ready.swap_remove(pick);
            drop(state);
            run();
        }
    }
    fn nudge(&self) {}
}

/// Futures as pieces of work: each poll is a step that the scheduler chooses, each wake-up makes it runnable again.
#[cfg(feature = "async")]
mod polled {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::sync::{Arc, Mutex, PoisonError, Weak};
    use std::task::{Context, Wake, Waker};

    use super::State;
    use crate::operator::{Beside, Flight};

    struct Polled {
        future: Mutex<Option<Beside>>,
        queued: AtomicBool,
        state: Weak<Mutex<State>>,
    }

    pub(super) fn start(state: &Arc<Mutex<State>>, future: Beside) -> Flight {
        let polled = Arc::new(Polled { future: Mutex::new(Some(future)), queued: AtomicBool::new(false), state: Arc::downgrade(state) });
        let theirs = Arc::downgrade(&polled);
        polled.wake();
        Flight::new(move || drop(theirs.upgrade().and_then(|p| p.take())))
    }

    impl Polled {
        fn take(&self) -> Option<Beside> {
            self.future.lock().unwrap_or_else(PoisonError::into_inner).take()
        }
        fn poll(self: &Arc<Self>) {
            self.queued.store(false, SeqCst);
            let Some(mut future) = self.take() else { return };
            let waker = Waker::from(Arc::clone(self));
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                *self.future.lock().unwrap_or_else(PoisonError::into_inner) = Some(future);
            }
        }
    }

    impl Wake for Polled {
        fn wake(self: Arc<Self>) {
            if self.queued.swap(true, SeqCst) {
                return;
            }
            if let Some(state) = self.state.upgrade() {
                let polled = Arc::clone(&self);
                state.lock().unwrap_or_else(PoisonError::into_inner).spawn(Box::new(move || polled.poll()));
            }
        }
    }
}
