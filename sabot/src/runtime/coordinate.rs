//! Collecting the parts of a checkpoint from all tasks, one checkpoint at a time.
//!
//! A task takes part once per epoch: by its cut, when the barrier has reached it on all inputs, or by having finished.
//! All instances of a stage do the same, since barriers and ends go to all of them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StepShape;
use super::checkpoint::{Checkpoint, InFlight, NodeMarks, NodeState, SourcePosition};
use super::control::Asked;
use crate::operator::Account;

/// What one task contributes to a checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Part {
    pub(super) states: Vec<NodeState>,
    pub(super) position: Option<SourcePosition>,
    pub(super) in_flight: Vec<InFlight>,
    pub(super) marks: Option<NodeMarks>,
    pub(super) accounts: Vec<(usize, Account)>,
    pub(super) finished: bool,
    pub(super) cost: Cost,
}

#[cfg(all(test, feature = "cluster"))]
impl Part {
    /// Of a task without rows that has finished.
    pub(crate) fn ended() -> Part {
        Part { finished: true, ..Part::default() }
    }
}

/// What a checkpoint took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Cost {
    /// The longest time that an input waited for barriers on all of its channels.
    pub(super) aligned: Duration,
    /// Bytes that were written to files of states.
    pub(super) written: u64,
}

#[derive(Default)]
pub(super) struct Coordinator {
    steps: Vec<StepShape>,
    names: Vec<String>,
    /// Nodes and instances of each task.
    tasks: Vec<Vec<usize>>,
    epoch: u64,
    base: Vec<Account>,
    base_done: Vec<SourcePosition>,
    finished: Vec<Option<Part>>,
    pending: Option<(Vec<Option<Part>>, Vec<Asked>)>,
    queue: Vec<Asked>,
    /// Whether a checkpoint is wanted, by a ticket or without.
    asked: bool,
    /// A complete checkpoint that nobody has taken yet.
    ready: Option<(Checkpoint, Cost)>,
    /// Who waits for it, until it is settled.
    settling: Option<Vec<Asked>>,
    /// Tasks whose cut for the pending epoch is being written.
    writing: BTreeSet<usize>,
}

impl Coordinator {
    /// `base` is what the job did before it was restored.
    pub(super) fn new(
        steps: Vec<StepShape>,
        tasks: Vec<Vec<usize>>,
        epoch: u64,
        base: Vec<Account>,
        base_done: Vec<SourcePosition>,
    ) -> Self {
        let finished = tasks.iter().map(|_| None).collect();
        let names = steps.iter().map(|s| s.name.clone()).collect();
        Coordinator { steps, names, tasks, epoch, base, base_done, finished, ..Self::default() }
    }
    /// Asks for a checkpoint. Returns the epoch if one begins now.
    pub(super) fn request(&mut self, asked: Option<Asked>) -> Option<u64> {
        self.asked = true;
        self.queue.extend(asked);
        self.begin()
    }
    fn begin(&mut self) -> Option<u64> {
        if self.pending.is_some() || self.settling.is_some() || !self.asked {
            return None;
        }
        self.asked = false;
        self.epoch += 1;
        self.pending = Some((self.finished.clone(), std::mem::take(&mut self.queue)));
        self.complete();
        Some(self.epoch)
    }
    /// A task is cut; the cut follows. It counts even if the task finishes before it is written.
    pub(super) fn cutting(&mut self, task: usize) {
        self.writing.insert(task);
    }
    /// A task was cut. Returns the next epoch if one begins.
    pub(super) fn cut(&mut self, task: usize, part: Part) -> Option<u64> {
        self.writing.remove(&task);
        if let Some(slot) = self.pending.as_mut().and_then(|(parts, _)| parts.get_mut(task)) {
            *slot = Some(part);
        }
        self.complete();
        self.begin()
    }
    /// A task finished. It may have been cut for the pending epoch already; then that cut stands.
    pub(super) fn finish(&mut self, task: usize, part: Part) -> Option<u64> {
        let slot = self.pending.as_mut().and_then(|(parts, _)| parts.get_mut(task));
        if let Some(slot) = slot.filter(|_| !self.writing.contains(&task)) {
            slot.get_or_insert_with(|| part.clone());
        }
        if let Some(slot) = self.finished.get_mut(task) {
            *slot = Some(part);
        }
        self.complete();
        self.begin()
    }
    fn complete(&mut self) {
        if self.pending.as_ref().is_none_or(|(parts, _)| parts.iter().any(Option::is_none)) {
            return;
        }
        let Some((parts, asked)) = self.pending.take() else { return };
        let parts: Vec<Part> = parts.into_iter().flatten().collect();
        let costs = || parts.iter().filter(|p| !p.finished).map(|p| p.cost);
        let cost = Cost { aligned: costs().map(|c| c.aligned).max().unwrap_or_default(), written: costs().map(|c| c.written).sum() };
        self.ready = Some((self.assemble(parts), cost));
        self.settling = Some(asked);
    }
    /// The checkpoint that has become complete. No other begins before it is [settled](Self::settled).
    pub(super) fn take_ready(&mut self) -> Option<(Checkpoint, Cost)> {
        self.ready.take()
    }
    /// Those who wait for the checkpoint that is being settled.
    pub(super) fn waiting(&mut self) -> Vec<Asked> {
        self.settling.as_mut().map(std::mem::take).unwrap_or_default()
    }
    /// A complete checkpoint is where it belongs. Returns the next epoch if one begins.
    pub(super) fn settled(&mut self) -> Option<u64> {
        self.settling = None;
        self.begin()
    }
    /// The checkpoint of a job that is over; `None` if a task is not.
    pub(super) fn last(&mut self) -> Option<Checkpoint> {
        let parts: Option<Vec<Part>> = self.finished.iter().cloned().collect();
        self.epoch += 1;
        parts.map(|parts| self.assemble(parts))
    }
    fn assemble(&self, parts: Vec<Part>) -> Checkpoint {
        let mut c = Checkpoint {
            epoch: self.epoch,
            nodes: self.names.clone(),
            steps: self.steps.clone(),
            positions: self.base_done.clone(),
            ..Checkpoint::default()
        };
        let accounts = self.sum(parts.iter());
        let mut running = vec![false; self.names.len()];
        for (part, nodes) in parts.into_iter().zip(&self.tasks) {
            if !part.finished {
                nodes.iter().filter_map(|n| running.get_mut(*n).map(|r| *r = true)).for_each(drop);
            }
            c.states.extend(part.states);
            c.in_flight.extend(part.in_flight);
            c.marks.extend(part.marks);
            if let Some(position) = part.position {
                match c.positions.iter_mut().find(|p| p.node == position.node) {
                    Some(p) => {
                        p.done.extend(position.done);
                        p.open.extend(position.open);
                    }
                    None => c.positions.push(position),
                }
            }
        }
        for position in &mut c.positions {
            position.done.sort_unstable();
            position.open.sort_by_key(|o| (o.partition, o.sequence));
        }
        c.finished = self.names.iter().zip(&running).filter(|(_, r)| !**r).map(|(n, _)| n.clone()).collect();
        c.accounts = self.names.iter().cloned().zip(accounts).collect();
        c
    }
    fn sum<'a>(&self, parts: impl Iterator<Item = &'a Part>) -> Vec<Account> {
        let mut accounts = self.base.clone();
        for (node, account) in parts.flat_map(|p| &p.accounts) {
            if let Some(a) = accounts.get_mut(*node) {
                a.add(account);
            }
        }
        accounts
    }
    /// The accounts of all tasks that have finished.
    pub(super) fn accounts(&self) -> Vec<Account> {
        self.sum(self.finished.iter().flatten())
    }
    /// Whether all tasks have finished, and no checkpoint is on its way.
    pub(super) fn is_over(&self) -> bool {
        self.pending.is_none() && self.settling.is_none() && self.finished.iter().all(Option::is_some)
    }
    /// Takes all who wait, for a job that failed.
    pub(super) fn give_up(&mut self) -> Vec<Asked> {
        let mut asked = std::mem::take(&mut self.queue);
        asked.extend(self.pending.take().into_iter().flat_map(|(_, a)| a));
        asked.extend(self.settling.take().into_iter().flatten());
        asked
    }
}
