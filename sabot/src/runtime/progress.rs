//! How far the sources have come.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::job::Job;
use super::options::{ProgressHook, Progressed, RunOptions};

pub(super) struct Progress {
    hook: Option<ProgressHook>,
    every: Duration,
    total_rows: Option<u64>,
    total_bytes: Option<u64>,
    rows: AtomicU64,
    bytes: AtomicU64,
    last: Mutex<Option<Duration>>,
}

impl Progress {
    pub(super) fn new(options: &RunOptions, total_rows: Option<u64>, total_bytes: Option<u64>) -> Self {
        let (hook, every) = (options.progress.clone(), options.progress_every);
        Progress { hook, every, total_rows, total_bytes, rows: AtomicU64::new(0), bytes: AtomicU64::new(0), last: Mutex::new(None) }
    }
    pub(super) fn read(&self, rows: u64, job: &Job) {
        self.rows.fetch_add(rows, Relaxed);
        let Some(hook) = &self.hook else { return };
        // Whoever finds the lock taken has nothing to tell: another worker is just telling it.
        let Ok(mut last) = self.last.try_lock() else { return };
        let now = job.executor.now();
        if last.is_none_or(|l| now.saturating_sub(l) >= self.every) {
            *last = Some(now);
            hook(self.now());
        }
    }
    pub(super) fn split(&self, bytes: Option<u64>) {
        self.bytes.fetch_add(bytes.unwrap_or(0), Relaxed);
    }
    pub(super) fn end(&self) {
        if let Some(hook) = &self.hook {
            hook(self.now());
        }
    }
    fn now(&self) -> Progressed {
        Progressed {
            rows: self.rows.load(Relaxed),
            total_rows: self.total_rows,
            bytes: self.bytes.load(Relaxed),
            total_bytes: self.total_bytes,
        }
    }
}
