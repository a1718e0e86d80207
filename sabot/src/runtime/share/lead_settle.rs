//! What follows when all parts of a checkpoint are there: the lead writes it, has the sinks publish, one after the other, removes what
//! is old, and answers those who wait. As in a job of one process, but that sinks are told, and answer later.

use std::collections::VecDeque;
use std::sync::Arc;

use super::ToShare;
use super::lead::{Event, Lead};
use super::lead_state::{Phase, State};
use crate::runtime::Checkpoint;
use crate::runtime::control::Asked;
use crate::runtime::coordinate::Cost;
use crate::runtime::retry::Retry;
use crate::runtime::seam::seam;
use crate::runtime::sink::prepared_in;
use crate::{Error, Result};

/// A checkpoint on its way.
pub(super) struct Cut {
    checkpoint: Arc<Checkpoint>,
    cost: Cost,
    bytes: u64,
    /// Sinks that have still to publish: node and share.
    sinks: VecDeque<(usize, usize)>,
    retry: Retry,
    /// Whether it is that of a job whose tasks have all finished.
    last: bool,
}

/// What may have to be done again.
#[derive(Clone, Copy)]
pub(super) enum Piece {
    Write,
    Prune,
}

impl State {
    /// Sets the time of the next checkpoint.
    pub(super) fn arm(&mut self, lead: &Arc<Lead>) {
        if lead.settling.is_some() && !std::mem::replace(&mut self.armed, true) {
            lead.after(lead.options.checkpoint_every, Event::Due);
        }
    }
    /// A checkpoint is wanted.
    pub(super) fn due(&mut self, lead: &Arc<Lead>) {
        if self.phase == Phase::Running && lead.settling.is_some() {
            let epoch = self.coordinator.request(None);
            self.begin(lead, epoch);
        }
    }
    /// A checkpoint begins, if one does; one that is complete is settled.
    pub(super) fn begin(&mut self, lead: &Arc<Lead>, epoch: Option<u64>) {
        if let Some(epoch) = epoch {
            lead.settling.iter().for_each(|s| s.began(lead.executor.now()));
            self.tell_all(&ToShare::Begin { epoch });
        }
        if let Some((checkpoint, cost)) = self.coordinator.take_ready() {
            self.settle(lead, checkpoint, cost, false);
        }
    }
    pub(super) fn settle_last(&mut self, lead: &Arc<Lead>, checkpoint: Checkpoint) {
        lead.settling.iter().for_each(|s| s.began(lead.executor.now()));
        self.settle(lead, checkpoint, Cost::default(), true);
    }
    fn settle(&mut self, lead: &Arc<Lead>, checkpoint: Checkpoint, cost: Cost, last: bool) {
        if lead.settling.is_none() {
            for asked in self.coordinator.waiting() {
                if let Asked::Cut(ticket) = asked {
                    ticket.fill(Ok(checkpoint.clone()));
                }
            }
            return self.answered(lead, None);
        }
        // the list is in descending order
        let sinks = self.publish.iter().rev().copied().collect();
        self.cut = Some(Cut { checkpoint: Arc::new(checkpoint), cost, bytes: 0, sinks, retry: Retry::default(), last });
        self.again(lead, Piece::Write);
    }
    pub(super) fn again(&mut self, lead: &Arc<Lead>, piece: Piece) {
        let Some(cut) = &self.cut else { return };
        let checkpoint = Arc::clone(&cut.checkpoint);
        lead.aside(move |lead| {
            let settling = lead.settling.as_ref()?;
            Some(match piece {
                Piece::Write => {
                    seam("cut");
                    let wrote = settling.store.write(&checkpoint);
                    seam("written");
                    Event::Wrote(wrote)
                }
                Piece::Prune => Event::Pruned(settling.store.prune()),
            })
        });
    }
    /// What came of a piece; tries it again after a transient error.
    fn done<T>(&mut self, lead: &Arc<Lead>, piece: Piece, result: Result<T>) -> Option<T> {
        self.retried(lead);
        let cut = self.cut.as_mut()?;
        let error = match result {
            Ok(value) => {
                cut.retry.over();
                return Some(value);
            }
            Err(error) => error,
        };
        match cut.retry.pause("a checkpoint", error, (lead.options.retries, lead.options.retry_wait)) {
            Ok(pause) => {
                self.event(lead, None, pause.why);
                lead.after(pause.wait, Event::Again(piece));
            }
            Err(error) => self.abort(lead, None, error),
        }
        None
    }
    /// The checkpoint is durable.
    pub(super) fn wrote(&mut self, lead: &Arc<Lead>, result: Result<u64>) {
        let Some(bytes) = self.done(lead, Piece::Write, result) else { return };
        if let Some(cut) = &mut self.cut {
            cut.bytes = bytes;
        }
        self.publish_next(lead);
    }
    fn publish_next(&mut self, lead: &Arc<Lead>) {
        let Some(cut) = &mut self.cut else { return };
        while let Some((node, share)) = cut.sinks.front().copied() {
            let name = lead.plan.nodes.get(node).map_or("", |n| &n.name);
            match prepared_in(&cut.checkpoint, name) {
                Ok(None) => _ = cut.sinks.pop_front(),
                Ok(Some(prepared)) => {
                    let epoch = cut.checkpoint.epoch;
                    return self.send(share, ToShare::Publish { node, epoch, prepared });
                }
                Err(error) => return self.abort(lead, None, error),
            }
        }
        self.again(lead, Piece::Prune);
    }
    /// A sink has published.
    pub(super) fn published(&mut self, lead: &Arc<Lead>, node: usize, epoch: u64) {
        let Some(cut) = &mut self.cut else { return };
        if cut.checkpoint.epoch == epoch && cut.sinks.front().is_some_and(|(n, _)| *n == node) {
            cut.sinks.pop_front();
            seam("published");
            self.publish_next(lead);
        }
    }
    /// What is old has gone: the checkpoint is settled.
    pub(super) fn pruned(&mut self, lead: &Arc<Lead>, result: Result<()>) {
        if self.done(lead, Piece::Prune, result).is_none() {
            return;
        }
        let Some(cut) = self.cut.take() else { return };
        if let Some(settling) = &lead.settling {
            settling.settled(&cut.checkpoint, cut.bytes, cut.cost, lead.executor.now());
        }
        if cut.last {
            return self.commit_all(lead);
        }
        let waiting = self.coordinator.waiting();
        let epoch = cut.checkpoint.epoch;
        if waiting.is_empty() {
            self.tell_all(&ToShare::Settled { epoch });
            return self.answered(lead, None);
        }
        self.cut = Some(cut);
        self.answer(lead, waiting);
    }
    fn answer(&mut self, lead: &Arc<Lead>, waiting: Vec<Asked>) {
        let Some(cut) = &self.cut else { return };
        let checkpoint = Arc::clone(&cut.checkpoint);
        lead.aside(move |lead| {
            let settling = lead.settling.as_ref()?;
            Some(Event::Answered(settling.answer(checkpoint.as_ref().clone(), waiting)))
        });
    }
    /// Whoever waited for it has it.
    pub(super) fn answered(&mut self, lead: &Arc<Lead>, end: Option<String>) {
        if let Some(cut) = self.cut.take() {
            self.tell_all(&ToShare::Settled { epoch: cut.checkpoint.epoch });
        }
        if self.phase != Phase::Running {
            return;
        }
        if let Some(name) = end {
            return self.abort(lead, None, Error::Suspended(name));
        }
        let epoch = self.coordinator.settled();
        self.begin(lead, epoch);
        self.arm(lead);
    }
}
