//! What this process uses, as the kernel counts it.

use std::time::{Duration, Instant};

/// The size of a page, and ticks in a second, on every Linux that Rust supports with few exceptions; they only serve display.
const PAGE: u64 = 4096;
const TICKS: f64 = 100.0;

/// Measures between calls.
pub(super) struct Usage {
    at: Instant,
    ticks: u64,
}

impl Usage {
    /// From now on.
    pub(super) fn new() -> Self {
        Usage { at: Instant::now(), ticks: ticks().unwrap_or(0) }
    }
    /// Resident memory in bytes, and cores busy on average since the last call. Zero where the system does not say.
    pub(super) fn measure(&mut self) -> (u64, f64) {
        let (now, ticks) = (Instant::now(), ticks().unwrap_or(self.ticks));
        let span = now.duration_since(self.at).max(Duration::from_millis(1));
        let busy = ticks.saturating_sub(self.ticks) as f64 / TICKS / span.as_secs_f64();
        (self.at, self.ticks) = (now, ticks);
        (resident().unwrap_or(0), busy)
    }
}

/// Clock ticks of processor time, of all threads.
fn ticks() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // the name may hold blanks; behind its bracket the fields are numbered from 3
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split_whitespace().nth(1)?.parse::<u64>().ok()? * PAGE)
}
