//! One instance of a stage as the scheduler sees it: a thing that takes turns.

use std::sync::Arc;

use super::chain::{Chain, Drained, Signal};
use super::coordinate::Part;
use super::feed::Feed;
use super::inlet::Inlet;
use super::job::Job;
use super::ledger::Relief;
use super::sink::AT_END;
use crate::Result;
use crate::operator::Pending;
use std::time::Duration;

/// A turn with small morsels ends after this long: tasks that wait for the worker, and rows that wait for them, get theirs. With turns of
/// `morsel_rows` rows, at 1 million rows per second a row waited 0.1 s for the sink's turn.
const LONGEST: Duration = Duration::from_millis(2);

/// What a task did with its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There is more to do.
    Again,
    /// Someone will wake it: a producer, a consumer with room again, or control.
    Wait,
    /// As `Wait`, but not longer than this.
    Sleep(Duration),
    /// It is over.
    Done,
}

/// What the root of a task found to do.
pub(super) enum Next {
    Rows(usize),
    Mark,
    Barrier(u64),
    Wait,
    Sleep(Duration),
    /// All input has ended; what was signalled is the last.
    End,
}

pub(super) enum Root {
    Feed(Feed),
    Inlet(Inlet),
    /// Had finished before the checkpoint that the job was restored from.
    Over,
}

pub(super) struct Task {
    pub(super) id: usize,
    pub(super) instance: usize,
    pub(super) root: Root,
    pub(super) chain: Chain,
    barrier: Option<u64>,
    ending: bool,
    /// Whether the root was told that no one wants more.
    unwanted: bool,
    attached: bool,
}

/// Work of one turn, for the statistics.
#[derive(Clone, Copy, Default)]
pub(super) struct Moved {
    pub(super) morsels: u64,
    pub(super) rows: u64,
}

impl Task {
    pub(super) fn new(id: usize, instance: usize, root: Root, chain: Chain) -> Self {
        Task { id, instance, root, chain, barrier: None, ending: false, unwanted: false, attached: false }
    }

    /// Carries one morsel's worth of rows through the stage.
    pub(super) fn turn(&mut self, job: &Arc<Job>, moved: &mut Moved) -> Result<Turn> {
        if !std::mem::replace(&mut self.attached, true) {
            self.chain.attach(Arc::new(super::outside::TaskOutside::new(job, self.id)));
        }
        let turn = self.work(job, moved)?;
        self.relieve(job)?;
        if turn == Turn::Done {
            self.chain.forget(self.id, job)?;
        }
        Ok(turn)
    }

    /// Reports what the stage holds; spills if this task holds too much, or wakes the one that does.
    fn relieve(&mut self, job: &Arc<Job>) -> Result<()> {
        self.chain.report_held(self.id, job)?;
        let mut held = usize::MAX;
        loop {
            match job.ledger.relief() {
                Relief::Nobody => return Ok(()),
                Relief::Task(id) if id != self.id => {
                    job.wake(id);
                    return Ok(());
                }
                Relief::Task(_) => {
                    let now = self.chain.spillable();
                    if now >= held {
                        return Ok(());
                    }
                    held = now;
                    self.chain.spill()?;
                    self.chain.report_held(self.id, job)?;
                }
            }
        }
    }

    fn work(&mut self, job: &Arc<Job>, moved: &mut Moved) -> Result<Turn> {
        let begun = job.executor.now();
        loop {
            if job.is_aborted() {
                return Ok(Turn::Done);
            }
            match self.chain.drain(job)? {
                Drained::Blocked => return Ok(Turn::Wait),
                Drained::Yield => return Ok(Turn::Again),
                Drained::Pause(wait) => return Ok(Turn::Sleep(wait)),
                Drained::Empty => {}
            }
            if job.ledger.budget.is_some() {
                self.relieve(job)?;
            }
            if let Some(epoch) = self.barrier.take() {
                self.cut(epoch, job)?;
            }
            if !self.unwanted && job.needs.over(self.chain.root()) {
                self.unwanted = true;
                self.chain.signal(0, Signal::Unwanted);
                continue;
            }
            let pending = self.chain.pending();
            if pending == Pending::Ready {
                self.chain.signal(0, Signal::Poll);
                continue;
            }
            if self.ending && pending == Pending::Waits {
                return Ok(Turn::Wait);
            }
            if self.ending {
                self.finish(job)?;
                return Ok(Turn::Done);
            }
            let long = moved.morsels > 0 && job.executor.now().saturating_sub(begun) >= LONGEST;
            if long || moved.rows >= job.options.morsel_rows as u64 {
                return Ok(Turn::Again);
            }
            let next = match &mut self.root {
                Root::Feed(feed) => feed.next(&mut self.chain, job)?,
                Root::Inlet(inlet) => inlet.next(&mut self.chain, job)?,
                Root::Over => {
                    self.chain.end_all(job);
                    Next::End
                }
            };
            match next {
                Next::Rows(rows) => {
                    moved.morsels += 1;
                    moved.rows += rows as u64;
                }
                Next::Mark => {}
                Next::Barrier(epoch) => self.barrier = Some(epoch),
                Next::Wait => return Ok(Turn::Wait),
                Next::Sleep(delay) => return Ok(Turn::Sleep(delay)),
                Next::End => self.ending = true,
            }
        }
    }

    fn part(&self, finished: bool) -> Result<Part> {
        let mut part = Part { accounts: self.chain.accounts(), finished, ..Part::default() };
        let name = self.chain.name()?;
        match &self.root {
            Root::Feed(feed) => part.position = Some(feed.position(&name)),
            Root::Inlet(inlet) if !finished => {
                let (in_flight, marks) = inlet.save(&name, self.instance)?;
                part.cost.aligned = inlet.aligned;
                part.in_flight = in_flight;
                // instances of a step that refuses rows now and then have not come equally far
                let tells = self.instance == 0 || (inlet.slow.is_some() && !marks.queued.is_empty());
                part.marks = tells.then_some(marks);
            }
            Root::Inlet(_) | Root::Over => {}
        }
        Ok(part)
    }

    /// The barrier has passed all operators of the stage: hand in the cut, written off this thread's turn.
    fn cut(&mut self, epoch: u64, job: &Arc<Job>) -> Result<()> {
        let mut part = self.part(false)?;
        let frozen = self.chain.take_frozen();
        job.cutting(self.id);
        let (id, instance, shared) = (self.id, self.instance, Arc::clone(job));
        job.beside(Box::new(move || {
            for (node, frozen) in frozen {
                let node = shared.names.get(node).cloned().unwrap_or_default();
                let (states, written) = shared.put_by(epoch, &node, instance, frozen)?;
                part.states.extend(states);
                part.cost.written += written;
            }
            shared.cut(id, part);
            Ok(())
        }));
        Ok(())
    }

    fn finish(&mut self, job: &Arc<Job>) -> Result<()> {
        let mut part = self.part(true)?;
        if job.options.cuts() {
            // The rows of a sink that has finished are still not committed: they stay part of later checkpoints.
            for (node, frozen) in self.chain.sink_states()? {
                let node = job.names.get(node).cloned().unwrap_or_default();
                part.states.extend(job.put_by(AT_END, &node, self.instance, frozen)?.0);
            }
        }
        job.finish(self.id, part);
        Ok(())
    }
}
