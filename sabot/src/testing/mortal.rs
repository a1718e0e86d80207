//! An executor of one process among several, which may be stopped, go on, or die.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::runtime::{Done, Executor, Run};
use crate::sync::lock;

const ALIVE: u8 = 0;
const STOPPED: u8 = 1;
const DEAD: u8 = 2;

/// A process's part of an executor that all of them share.
pub(crate) struct Mortal {
    inner: Arc<dyn Executor>,
    life: Arc<Life>,
    nudged: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Life {
    state: AtomicU8,
    /// What would have run while it was stopped.
    parked: Mutex<Vec<Run>>,
}

impl Life {
    fn run(&self, run: Run) {
        match self.state.load(SeqCst) {
            ALIVE => run(),
            STOPPED => lock(&self.parked).push(run),
            _ => {}
        }
    }
}

impl Mortal {
    pub(crate) fn new(inner: Arc<dyn Executor>) -> Mortal {
        Mortal { inner, life: Arc::default(), nudged: OnceLock::new() }
    }
    /// Calls this when a job may be over.
    pub(crate) fn on_nudge(&self, call: impl Fn() + Send + Sync + 'static) {
        // Set once, by who made it.
        let _ = self.nudged.set(Box::new(call));
    }
    /// Nothing of it runs any more.
    pub(crate) fn die(&self) {
        self.life.state.store(DEAD, SeqCst);
        lock(&self.life.parked).clear();
    }
    pub(crate) fn is_dead(&self) -> bool {
        self.life.state.load(SeqCst) == DEAD
    }
    pub(crate) fn is_stopped(&self) -> bool {
        self.life.state.load(SeqCst) == STOPPED
    }
    /// Nothing of it runs until it goes on.
    #[cfg(test)]
    pub(crate) fn stop(&self) {
        let _ = self.life.state.compare_exchange(ALIVE, STOPPED, SeqCst, SeqCst);
    }
    #[cfg(test)]
    pub(crate) fn go_on(&self) {
        if self.life.state.compare_exchange(STOPPED, ALIVE, SeqCst, SeqCst).is_ok() {
            let parked = std::mem::take(&mut *lock(&self.life.parked));
            parked.into_iter().for_each(|run| self.spawn(run));
        }
    }
    fn wrap(&self, run: Run) -> Run {
        let life = Arc::clone(&self.life);
        Box::new(move || life.run(run))
    }
}

impl Executor for Mortal {
    fn threads(&self) -> usize {
        self.inner.threads()
    }
    fn worker(&self) -> usize {
        self.inner.worker()
    }
    fn now(&self) -> Duration {
        self.inner.now()
    }
    fn wall(&self) -> Duration {
        self.inner.wall()
    }
    fn random(&self) -> u64 {
        self.inner.random()
    }
    fn spawn(&self, run: Run) {
        self.inner.spawn(self.wrap(run));
    }
    fn after(&self, delay: Duration, run: Run) {
        self.inner.after(delay, self.wrap(run));
    }
    #[cfg(feature = "async")]
    fn future(&self, future: crate::operator::Beside) -> crate::Result<crate::operator::Flight> {
        self.inner.future(future)
    }
    fn drive(&self, done: &Done) -> bool {
        self.inner.drive(done)
    }
    fn nudge(&self) {
        if let Some(nudged) = self.nudged.get() {
            nudged();
        }
        self.inner.nudge();
    }
}
