//! Work that waits for its time: a heap, earliest first, in order of request at equal times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::Run;

struct Entry {
    due: Duration,
    number: u64,
    run: Run,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    next: u64,
}

impl Timers {
    pub(super) fn add(&mut self, due: Duration, run: Run) {
        self.next += 1;
        self.heap.push(Reverse(Entry { due, number: self.next, run }));
    }
    /// When the earliest is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(e)| e.due)
    }
    /// Takes the earliest if it is due at `now`.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Run> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(e)| e.run)
    }
}
