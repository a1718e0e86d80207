//! Whether all shares stand still together.
//!
//! Idea: a share cannot know. Its tasks may wait for rows that are on their way, and a queue that is full here may be about to be
//! emptied there. So a share in which nothing has moved for a while says so, and the lead asks all of them, twice (Mattern's counting): if
//! nobody has moved in between, and of each link as much has arrived as was sent, or its end is full, nobody ever will.
//!
//! Before it asks, the lead has all tasks woken once: a call that wakes a task may be late, behind what it announces.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::{Counts, FromShare};
use crate::runtime::job::Job;
use crate::shuffle::LinkId;

/// How long nothing must move in a share until it says so.
const QUIET: Duration = Duration::from_millis(10);
/// Between having tasks woken and asking.
const SETTLE: Duration = Duration::from_millis(2);
/// The pause between two inquiries while some share says that nothing moves: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

impl Job {
    fn moves(&self) -> u64 {
        self.channels.iter().map(|c| c.passed()).map(|(pushed, popped)| pushed + popped).sum()
    }
    fn is_still(&self) -> bool {
        self.active.load(SeqCst) == 0 && self.outside.load(SeqCst) == 0
    }
    fn waits(&self) -> bool {
        self.channels.iter().any(|c| c.waited_for())
    }
    /// Nothing can go on by itself, though not all is done: if that stays so, the lead is told.
    pub(in crate::runtime) fn suspect(self: &Arc<Self>) {
        let Some(away) = self.away() else { return };
        let waits_for_others = self.sleeping.load(SeqCst) == 0 && self.remaining.load(SeqCst) > 1;
        if !(self.waits() || waits_for_others) || self.done.is_set() || away.suspects.swap(true, SeqCst) {
            return;
        }
        let (job, before) = (Arc::downgrade(self), self.moves());
        let look = move || {
            let Some(job) = job.upgrade() else { return };
            let Some(away) = job.away() else { return };
            away.suspects.store(false, SeqCst);
            if !job.is_still() || job.is_aborted() || job.done.is_set() {
                return;
            }
            if job.moves() == before { away.tell(FromShare::Still) } else { job.suspect() }
        };
        self.executor.after(QUIET, Box::new(look));
    }
    /// How far this share has come.
    pub(super) fn counts(&self) -> Counts {
        let still = self.is_still();
        let (out, come) = self.away().map(|away| (&away.links.0, &away.links.1)).unzip();
        let sent = out.into_iter().flatten().filter(|_| still).map(|r| (r.link, r.channel.passed().0)).collect();
        let came = come.into_iter().flatten().filter(|_| still).map(|r| (r.link, r.channel.passed().0, r.channel.waited_for())).collect();
        let counts = Counts { sleeps: self.sleeping.load(SeqCst) > 0, waits: self.waits(), moves: self.moves(), sent, came, still };
        // a task that has run meanwhile may have changed what was counted first
        Counts { still: still && self.is_still(), ..counts }
    }
}

/// What the lead knows of it.
#[derive(Default)]
pub(super) struct Inquiry {
    /// Shares that say that nothing moves.
    suspects: BTreeSet<usize>,
    round: u64,
    asks: Option<Asks>,
    pause: Duration,
    answers: BTreeMap<usize, Counts>,
    before: Option<BTreeMap<usize, Counts>>,
}

/// What the lead waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// Until it is time to ask again.
    Pause,
    /// Until the tasks that were woken have had their turns.
    Turns,
    Answers,
}

/// What the lead does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// Has all tasks woken, and calls [`Inquiry::time`] after this time.
    WakeThen(Duration),
    /// Calls [`Inquiry::time`] after this time.
    Pause(Duration),
    /// Asks all shares.
    Ask(u64),
    /// Full queues grow.
    Relax,
    /// The job cannot go on.
    DeadEnd,
}

impl Inquiry {
    /// A share says that nothing moves.
    pub(super) fn still(&mut self, share: usize) -> Next {
        self.suspects.insert(share);
        if self.asks.is_some() {
            return Next::Nothing;
        }
        self.pause = PAUSES.0;
        self.wake()
    }
    fn wake(&mut self) -> Next {
        (self.asks, self.before) = (Some(Asks::Turns), None);
        Next::WakeThen(SETTLE)
    }
    /// Time has passed.
    pub(super) fn time(&mut self) -> Next {
        match self.asks {
            Some(Asks::Turns) => self.ask(),
            Some(Asks::Pause) => self.wake(),
            _ => Next::Nothing,
        }
    }
    fn ask(&mut self) -> Next {
        self.round += 1;
        self.answers.clear();
        self.asks = Some(Asks::Answers);
        Next::Ask(self.round)
    }
    /// A share of so many answers.
    pub(super) fn counted(&mut self, share: usize, round: u64, counts: Counts, shares: usize) -> Next {
        if self.asks != Some(Asks::Answers) || round != self.round {
            return Next::Nothing;
        }
        self.answers.insert(share, counts);
        if self.answers.len() < shares {
            return Next::Nothing;
        }
        let answers = std::mem::take(&mut self.answers);
        let stuck = |c: &Counts| c.still && (c.waits || !c.sleeps);
        self.suspects.retain(|share| answers.get(share).is_some_and(stuck));
        if !quiescent(&answers) {
            return self.later();
        }
        let Some(before) = self.before.replace(answers) else { return self.ask() };
        let answers = self.before.take().unwrap_or_default();
        if !answers.iter().all(|(share, now)| before.get(share).is_some_and(|b| b.moves == now.moves && b.waits == now.waits)) {
            return self.later();
        }
        self.asks = None;
        self.suspects.clear();
        if answers.values().any(|c| c.waits) {
            return Next::Relax;
        }
        // who sleeps may find rows
        if answers.values().any(|c| c.sleeps) { Next::Nothing } else { Next::DeadEnd }
    }
    /// It was not so. If some share still says so, it is asked again, less and less often.
    fn later(&mut self) -> Next {
        self.before = None;
        if self.suspects.is_empty() {
            self.asks = None;
            return Next::Nothing;
        }
        self.asks = Some(Asks::Pause);
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSES.1);
        Next::Pause(pause)
    }
}

/// Whether all stand still, and nothing is on its way that has room where it goes.
fn quiescent(answers: &BTreeMap<usize, Counts>) -> bool {
    let sent: BTreeMap<LinkId, u64> = answers.values().flat_map(|c| c.sent.iter().copied()).collect();
    let arrived = |(link, came, full): &(LinkId, u64, bool)| *full || sent.get(link) == Some(came);
    answers.values().all(|c| c.still && c.came.iter().all(arrived))
}
