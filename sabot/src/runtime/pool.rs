//! The production executor: rayon runs the work, the driving thread serves the timers.
//!
//! Work is spawned first in, first out per worker, so tasks that yield take turns and consumers run soon after their
//! producers, while their rows are in cache; idle workers steal.
//!
//! A worker takes its own work before what comes from outside, so busy workers would let a timer, or a task that another
//! thread starts or wakes, wait for ever. What comes from outside is therefore run by whichever worker takes its next piece of work.
//!
//! Jobs may share workers ([`Pool::beside`]): each has its driver and its timers. Pieces of work are short, so they take turns.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::executor::{on_thread, split_mix};
use super::timers::Timers;
use super::{Done, Executor, Run};
use crate::{Error, Result};

/// How long a driver that is itself a rayon worker waits between helping out.
const HELPER_PAUSE: Duration = Duration::from_micros(200);

/// Rayon threads: the global pool or an own one.
///
/// Example: [`Simulated`](super::Simulated).
pub struct Pool {
    workers: Workers,
    start: Instant,
    /// The time of day at the start.
    epoch: Duration,
    timers: Mutex<Timers>,
    nudged: Condvar,
    seed: Mutex<u64>,
    #[cfg(feature = "async")]
    tokio: super::tokio::Tokio,
}

/// Threads, and what is to be run by the next that is free.
#[derive(Clone)]
struct Workers {
    own: Option<Arc<rayon::ThreadPool>>,
    due: Arc<Due>,
}

impl Workers {
    /// The number of the calling thread, if it is one of them.
    fn index(&self) -> Option<usize> {
        match &self.own {
            Some(pool) => pool.current_thread_index(),
            None => rayon::current_thread_index(),
        }
    }
    /// Gives work to rayon: it comes behind the other work of this worker or, from outside, when one has nothing else.
    fn queue(&self, run: Run) {
        let due = Arc::clone(&self.due);
        let run = move || {
            due.work();
            run();
        };
        match &self.own {
            Some(pool) => pool.spawn_fifo(run),
            None => rayon::spawn_fifo(run),
        }
    }
    /// Gives work to the worker that takes its next piece of work first.
    fn hand(&self, run: Run) {
        self.due.push(run);
        // For a worker that is idle; a busy one comes by itself.
        self.queue(Box::new(|| ()));
    }
}

/// Work from outside of the pool, and work whose time has come.
#[derive(Default)]
struct Due {
    waiting: AtomicUsize,
    runs: Mutex<VecDeque<Run>>,
}

impl Due {
    fn push(&self, run: Run) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.push_back(run);
        self.waiting.store(runs.len(), SeqCst);
    }
    fn take(&self) -> Option<Run> {
        if self.waiting.load(SeqCst) == 0 {
            return None;
        }
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let run = runs.pop_front();
        self.waiting.store(runs.len(), SeqCst);
        run
    }
    fn work(&self) {
        while let Some(run) = self.take() {
            run();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

impl Pool {
    /// An own pool of `threads` workers, or rayon's global pool for 0.
    ///
    /// # Errors
    /// If the system refuses threads.
    pub fn new(threads: usize) -> Result<Self> {
        let own = match threads {
            0 => None,
            n => {
                let builder = rayon::ThreadPoolBuilder::new().num_threads(n).thread_name(|i| format!("sabot-{i}"));
                Some(Arc::new(builder.build().map_err(|e| Error::usage(format!("cannot start {n} threads: {e}")))?))
            }
        };
        Ok(Self::of(Workers { own, due: Arc::default() }))
    }
    /// Another executor with the same workers.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self::of(self.workers.clone())
    }
    fn of(workers: Workers) -> Self {
        let seed = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0u8);
        Pool {
            workers,
            start: Instant::now(),
            epoch: crate::clock::time_of_day(),
            timers: Mutex::default(),
            nudged: Condvar::new(),
            seed: Mutex::new(seed),
            #[cfg(feature = "async")]
            tokio: super::tokio::Tokio::new(),
        }
    }
}

impl Executor for Pool {
    fn threads(&self) -> usize {
        self.workers.own.as_ref().map_or_else(rayon::current_num_threads, |pool| pool.current_num_threads())
    }
    fn worker(&self) -> usize {
        self.workers.index().unwrap_or(0)
    }
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
    fn wall(&self) -> Duration {
        self.epoch + self.start.elapsed()
    }
    fn random(&self) -> u64 {
        split_mix(&mut self.seed.lock().unwrap_or_else(PoisonError::into_inner))
    }
    fn spawn(&self, run: Run) {
        if self.workers.index().is_some() { self.workers.queue(run) } else { self.workers.hand(run) }
    }
    fn aside(&self, run: Run) {
        if let Err(run) = on_thread(run) {
            self.spawn(run);
        }
    }
    fn after(&self, delay: Duration, run: Run) {
        let due = self.now() + delay;
        self.timers.lock().unwrap_or_else(PoisonError::into_inner).add(due, run);
        self.nudged.notify_all();
    }
    #[cfg(feature = "async")]
    fn future(&self, future: crate::operator::Beside) -> crate::Result<crate::operator::Flight> {
        self.tokio.run(future)
    }
    fn drive(&self, done: &Done) -> bool {
        // A driver inside a rayon worker must not block it: it helps instead.
        let helper = rayon::current_thread_index().is_some();
        let mut timers = self.timers.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if done.is_set() {
                return true;
            }
            if let Some(run) = timers.pop(self.now()) {
                drop(timers);
                self.workers.hand(run);
                timers = self.timers.lock().unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if helper {
                drop(timers);
                let helped = rayon::yield_now() == Some(rayon::Yield::Executed);
                timers = self.timers.lock().unwrap_or_else(PoisonError::into_inner);
                if helped {
                    continue;
                }
            }
            let pause = timers.next_due().map(|due| due.saturating_sub(self.now()));
            let pause = if helper { Some(pause.unwrap_or(HELPER_PAUSE).min(HELPER_PAUSE)) } else { pause };
            timers = match pause {
                Some(pause) => self.nudged.wait_timeout(timers, pause).unwrap_or_else(PoisonError::into_inner).0,
                None => self.nudged.wait(timers).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
    fn nudge(&self) {
        // The lock orders this after the driver's look at `done`, so that it cannot miss the call.
        drop(self.timers.lock().unwrap_or_else(PoisonError::into_inner));
        self.nudged.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;

    use super::*;

    /// Work that comes again and again, until it is told to stop.
    fn again(pool: &Arc<Pool>, stop: &Arc<AtomicBool>) {
        let (next, told) = (Arc::clone(pool), Arc::clone(stop));
        pool.spawn(Box::new(move || {
            if !told.load(SeqCst) {
                again(&next, &told);
            }
        }));
    }

    #[test]
    fn work_from_outside_gets_its_turn_beside_busy_workers() -> Result<()> {
        let pool = Arc::new(Pool::new(2)?);
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..4 {
            again(&pool, &stop);
        }
        let (done, wait) = mpsc::channel();
        for n in 0..10 {
            let done = done.clone();
            pool.spawn(Box::new(move || done.send(n).unwrap_or_default()));
            let came = wait.recv_timeout(Duration::from_secs(20));
            if came != Ok(n) {
                stop.store(true, SeqCst);
            }
            assert_eq!(came, Ok(n), "work {n} waits for ever");
        }
        stop.store(true, SeqCst);
        Ok(())
    }

    /// Also if the workers are busy with another's work.
    #[test]
    fn who_shares_workers_gets_its_turn() -> Result<()> {
        let busy = Arc::new(Pool::new(2)?);
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..4 {
            again(&busy, &stop);
        }
        let (pool, done) = (Arc::new(busy.beside()), Arc::new(Done::default()));
        let (inner, told) = (Arc::clone(&pool), Arc::clone(&done));
        pool.after(
            Duration::from_millis(1),
            Box::new(move || {
                let (last, ended) = (Arc::clone(&inner), Arc::clone(&told));
                inner.spawn(Box::new(move || {
                    ended.set();
                    last.nudge();
                }));
            }),
        );
        let (tell, wait) = mpsc::channel();
        let (driver, until) = (Arc::clone(&pool), done);
        let driving = std::thread::spawn(move || tell.send(driver.drive(&until)).unwrap_or_default());
        let came = wait.recv_timeout(Duration::from_secs(20));
        stop.store(true, SeqCst);
        assert_eq!(came, Ok(true), "it waits for ever");
        assert!(driving.join().is_ok());
        assert_eq!((pool.threads(), busy.threads()), (2, 2));
        Ok(())
    }
}
