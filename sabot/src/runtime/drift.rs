//! Partitions that are ahead in event time wait for those that are behind.
//!
//! Idea: steps that follow event time keep the rows of the side that is ahead until the other side has come as far: a join of orders, which
//! are few, with clicks, which are many, would read all orders first and keep them. So while another partition that has rows is further behind
//! than the batches of a few turns, a partition is not read. Flink calls it watermark alignment; there the distance is set by hand, and
//! here it follows from how much time a batch of rows covers. It matters where there is much to catch up with: partitions that have nothing
//! to read now hold nobody back, so at the head of topics nobody waits.
//!
//! Invariant: it orders reading, and nothing else. What waits is read all the same if those behind have not moved for [`PATIENCE`]:
//! they may themselves wait for rows of the one that is ahead.
//!
//! Cost: a look at the marks of all partitions per batch.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::util::lock;
use crate::operator::EventTime;

/// Batches, of those that cover the longest time, that a partition may be ahead. With 2, NEXMark q9 and q4, where
/// a batch of auctions covers fifteen times as long as one of bids, take 0.88 of the time and up to 0.8 of the memory that they take without, and
/// as much processor time (medians of 3 alternating runs, 10 and 25 million events, 2 threads).
const AHEAD: i64 = 2;

/// How long a partition that is ahead waits for one behind that does not move.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long it sleeps before it looks again.
pub(super) const PAUSE: Duration = Duration::from_millis(1);

/// The marks of the partitions that are being read.
#[derive(Default)]
pub(super) struct Drift(Mutex<Vec<Arc<Mark>>>);

/// How far a partition is.
#[derive(Default)]
struct Mark {
    time: AtomicI64,
    /// The time that its last batch covered.
    span: AtomicI64,
    /// It had rows when it was asked last.
    flows: AtomicBool,
    moves: AtomicU64,
}

/// The place of one partition among the others.
pub(super) struct Place {
    among: Arc<Drift>,
    mark: Arc<Mark>,
    /// How often those behind had moved when this one began to wait, and since when they have not.
    waits: Option<(u64, Duration)>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.among.0).retain(|m| !Arc::ptr_eq(m, &self.mark));
    }
}

impl Place {
    pub(super) fn new(among: &Arc<Drift>) -> Self {
        let mark = Arc::new(Mark::default());
        lock(&among.0).push(Arc::clone(&mark));
        Place { among: Arc::clone(among), mark, waits: None }
    }
    /// Rows were read, and event time went from here to there.
    pub(super) fn moved(&mut self, from: EventTime, to: EventTime) {
        let span = if from == EventTime::MIN { 0 } else { to.saturating_sub(from) };
        self.mark.time.store(to, Relaxed);
        self.mark.span.store(span, Relaxed);
        self.mark.moves.fetch_add(1, Relaxed);
        self.mark.flows.store(to > EventTime::MIN, Relaxed);
        self.waits = None;
    }
    /// There was nothing to read.
    pub(super) fn quiet(&mut self) {
        self.mark.flows.store(false, Relaxed);
        self.waits = None;
    }
    /// Whether this partition should wait for others.
    pub(super) fn ahead(&mut self, now: Duration) -> bool {
        if !self.mark.flows.load(Relaxed) {
            return false;
        }
        let marks = lock(&self.among.0);
        let flowing = || marks.iter().filter(|m| m.flows.load(Relaxed));
        let longest = flowing().map(|m| m.span.load(Relaxed)).max().unwrap_or_default();
        let limit = self.mark.time.load(Relaxed).saturating_sub(longest.saturating_mul(AHEAD));
        let (mut behind, mut moves) = (false, 0u64);
        for mark in flowing().filter(|m| m.time.load(Relaxed) < limit) {
            behind = true;
            moves = moves.wrapping_add(mark.moves.load(Relaxed));
        }
        drop(marks);
        if !behind {
            self.waits = None;
            return false;
        }
        match self.waits {
            Some((seen, since)) if seen == moves => now.saturating_sub(since) < PATIENCE,
            _ => {
                self.waits = Some((moves, now));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn who_is_ahead_waits_while_the_others_move() {
        let drift = Arc::default();
        let (mut slow, mut fast) = (Place::new(&drift), Place::new(&drift));
        assert!(!fast.ahead(ms(0)) && !slow.ahead(ms(0)), "nothing is known yet");
        slow.moved(EventTime::MIN, 10);
        fast.moved(EventTime::MIN, 100);
        assert!(fast.ahead(ms(0)), "90 ahead, and no batch covered any time");
        slow.moved(10, 20);
        fast.moved(100, 200);
        assert!(!fast.ahead(ms(0)), "180 ahead is less than two batches");
        fast.moved(200, 300);
        assert!(fast.ahead(ms(1)) && !slow.ahead(ms(1)));
        slow.moved(20, 30);
        assert!(fast.ahead(ms(40)) && fast.ahead(ms(80)), "the other has moved since");
        assert!(!fast.ahead(ms(100)), "it has not moved for 50 ms");
        fast.moved(300, 400);
        assert!(fast.ahead(ms(101)), "it waits again for the next batch");
    }
    #[test]
    fn nobody_waits_for_what_has_no_rows_or_has_ended() {
        let drift = Arc::default();
        let (mut slow, mut fast) = (Place::new(&drift), Place::new(&drift));
        slow.moved(EventTime::MIN, 10);
        fast.moved(EventTime::MIN, 1000);
        assert!(fast.ahead(ms(0)));
        slow.quiet();
        assert!(!fast.ahead(ms(0)));
        slow.moved(10, 11);
        assert!(fast.ahead(ms(0)));
        drop(slow);
        assert!(!fast.ahead(ms(0)));
    }
}
