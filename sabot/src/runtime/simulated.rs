//! The executor of tests: one thread, a virtual clock, a seeded random order, and a crash on demand.
//!
//! Everything that timing can do to a job, this can do on purpose: any runnable task may be next, any may be delayed,
//! time jumps to the next timer when nothing else can run, and the whole may stop dead at a chosen step. The same seed
//! gives the same run.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::executor::split_mix;
use super::timers::Timers;
use super::{Done, Executor, Run};

/// Virtual time that a step takes.
const STEP: Duration = Duration::from_micros(10);

/// One in this many pieces of work is delayed.
const DELAYED: u64 = 16;

/// A deterministic executor.
pub struct Simulated {
    state: Mutex<State>,
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
}

impl std::fmt::Debug for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulated").field("steps", &self.steps()).finish_non_exhaustive()
    }
}

impl Simulated {
    /// An executor whose every choice follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Simulated { state: Mutex::new(State { random: seed, ..State::default() }) }
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
    fn random(&self) -> u64 {
        split_mix(&mut self.lock().random)
    }
    fn spawn(&self, run: Run) {
        let mut state = self.lock();
        let choice = split_mix(&mut state.random);
        if choice.is_multiple_of(DELAYED) {
            let due = state.now + STEP * (1 + (choice >> 32) as u32 % 50);
            state.timers.add(due, run);
        } else {
            state.ready.push(run);
        }
    }
    fn after(&self, delay: Duration, run: Run) {
        let mut state = self.lock();
        let due = state.now + delay;
        state.timers.add(due, run);
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
            if state.crash.is_some_and(|at| at <= step) {
                let lost = (std::mem::take(&mut state.ready), std::mem::take(&mut state.timers));
                drop(state);
                drop(lost);
                return false;
            }
            state.steps += 1;
            state.now += STEP;
            while let Some(run) = {
                let now = state.now;
                state.timers.pop(now)
            } {
                state.ready.push(run);
            }
            if state.ready.is_empty() {
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
