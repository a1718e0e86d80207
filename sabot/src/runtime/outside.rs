//! What an operator that answers rows later, or has timers by the clock, sees of the runtime: futures, a timer, clocks.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Executor;
use super::job::Job;
use crate::Result;
use crate::operator::{Beside, Flight, Outside};

/// The outside of one task. Does not keep the job alive.
pub(super) struct TaskOutside {
    executor: Arc<dyn Executor>,
    job: Weak<Job>,
    task: usize,
}

/// Something that is out. When it is dropped, it is over; the task is woken if it came to its end.
struct Out {
    job: Weak<Job>,
    task: usize,
    ended: bool,
}

impl TaskOutside {
    pub(super) fn new(job: &Arc<Job>, task: usize) -> Self {
        TaskOutside { executor: Arc::clone(&job.executor), job: Arc::downgrade(job), task }
    }
    fn out(&self) -> Out {
        if let Some(job) = self.job.upgrade() {
            job.outside.fetch_add(1, SeqCst);
        }
        Out { job: Weak::clone(&self.job), task: self.task, ended: false }
    }
}

impl Outside for TaskOutside {
    #[cfg(not(feature = "async"))]
    fn run(&self, _future: Beside) -> Result<Flight> {
        Err(crate::Error::internal("futures need the feature `async`"))
    }
    #[cfg(feature = "async")]
    fn run(&self, future: Beside) -> Result<Flight> {
        let out = self.out();
        self.executor.future(Box::pin(async move {
            let mut out = out;
            future.await;
            out.ended = true;
        }))
    }
    fn wake_after(&self, delay: Duration) {
        let out = self.out();
        self.executor.after(
            delay,
            Box::new(move || {
                let mut out = out;
                out.ended = true;
            }),
        );
    }
    fn wake(&self) {
        if let Some(job) = self.job.upgrade() {
            job.wake(self.task);
        }
    }
    fn now(&self) -> Duration {
        self.executor.now()
    }
    fn wall(&self) -> Duration {
        self.executor.wall()
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let Some(job) = self.job.upgrade() else { return };
        if self.ended {
            job.wake(self.task);
        }
        job.landed();
    }
}
