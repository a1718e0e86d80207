//! What is true, whatever the server believes: who may act for a job, and what must never be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::world::{Process, World};
use crate::cluster::wire::{Deployment, ShareId};
use crate::sync::lock;

/// A share that an agent was given.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) id: ShareId,
    pub(super) generation: u64,
    pub(super) process: Process,
    pub(super) slots: usize,
    lease: Duration,
    /// When the newest question was asked that was answered.
    answered: Option<Duration>,
    started: bool,
    ended: bool,
}

impl Seen {
    /// Whether it may write.
    pub(super) fn acts(&self, now: Duration) -> bool {
        self.started && !self.ended && self.holds(now)
    }
    fn holds(&self, now: Duration) -> bool {
        self.answered.is_some_and(|at| now.saturating_sub(at) < self.lease)
    }
}

/// How often what happened, so that seeds are known to do something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) attempts: u64,
    pub(super) writes: u64,
    pub(super) checkpoints: u64,
    pub(super) kills: u64,
    pub(super) zombies: u64,
    pub(super) servers: u64,
    pub(super) operations: u64,
    pub(super) done: u64,
    pub(super) finished: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.attempts += other.attempts;
        self.writes += other.writes;
        self.checkpoints += other.checkpoints;
        self.kills += other.kills;
        self.zombies += other.zombies;
        self.servers += other.servers;
        self.operations += other.operations;
        self.done += other.done;
        self.finished += other.finished;
    }
}

pub(super) struct Board {
    world: Arc<World>,
    truth: Mutex<Truth>,
}

#[derive(Default)]
struct Truth {
    shares: Vec<Seen>,
    /// The newest generation of each job that has written.
    newest: BTreeMap<String, u64>,
    /// The newest checkpoint of each job that was settled.
    settled: BTreeMap<String, u64>,
    slots: BTreeMap<Process, usize>,
    problem: Option<String>,
    tally: Tally,
}

impl Board {
    pub(super) fn new(world: Arc<World>) -> Arc<Board> {
        Arc::new(Board { world, truth: Mutex::default() })
    }
    pub(super) fn count(&self, add: impl FnOnce(&mut Tally)) {
        add(&mut lock(&self.truth).tally);
    }
    pub(super) fn tally(&self) -> Tally {
        lock(&self.truth).tally
    }
    /// What is wrong, if anything is; the first of it.
    pub(super) fn problem(&self) -> Option<String> {
        lock(&self.truth).problem.clone()
    }
    pub(super) fn wrong(&self, what: String) {
        self.world.note(&format!("WRONG   {what}"));
        lock(&self.truth).problem.get_or_insert(what);
    }
    /// A process with so many slots begins.
    pub(super) fn agent(&self, process: Process, slots: usize) {
        lock(&self.truth).slots.insert(process, slots);
    }
    /// A process is gone.
    pub(super) fn dead(&self, process: Process) {
        lock(&self.truth).shares.iter_mut().filter(|s| s.process == process).for_each(|s| s.ended = true);
    }
    /// A share was given to a process.
    pub(super) fn given(&self, process: Process, d: &Deployment, from: Option<u64>) -> usize {
        let mut truth = lock(&self.truth);
        let settled = truth.settled.get(&d.id.job).copied();
        let seen = Seen {
            id: d.id.clone(),
            generation: d.share.generation,
            process,
            slots: d.slots,
            lease: d.share.lease,
            answered: None,
            started: false,
            ended: false,
        };
        truth.shares.push(seen);
        let at = truth.shares.len() - 1;
        drop(truth);
        if from < settled {
            self.wrong(format!("attempt {} of {} begins with checkpoint {from:?}, and {settled:?} was settled", d.id.attempt, d.id.job));
        }
        at
    }
    pub(super) fn answered(&self, at: usize, asked: Duration) {
        let mut truth = lock(&self.truth);
        if let Some(seen) = truth.shares.get_mut(at) {
            seen.answered = seen.answered.max(Some(asked));
        }
    }
    /// Whether a share may act, by its own clock.
    pub(super) fn holds(&self, at: usize) -> bool {
        let now = self.world.now();
        lock(&self.truth).shares.get(at).is_some_and(|s| s.holds(now))
    }
    /// A share begins to work.
    pub(super) fn started(&self, at: usize) {
        let now = self.world.now();
        let mut truth = lock(&self.truth);
        truth.tally.attempts += 1;
        let Some(seen) = truth.shares.get_mut(at) else { return };
        seen.started = true;
        let seen = seen.clone();
        let other = truth.shares.iter().find(|s| s.id.job == seen.id.job && s.generation != seen.generation && s.acts(now)).cloned();
        let taken: usize = truth.shares.iter().filter(|s| s.process == seen.process && s.acts(now)).map(|s| s.slots).sum();
        let slots = truth.slots.get(&seen.process).copied().unwrap_or(0);
        drop(truth);
        if let Some(other) = other {
            self.wrong(format!("{:?} of generation {} starts while {other:?} may act", seen.id, seen.generation));
        }
        if taken > slots {
            self.wrong(format!("process {} runs {taken} slots of {slots} with {:?}", seen.process, seen.id));
        }
    }
    /// A share whose lease runs writes.
    pub(super) fn writes(&self, at: usize) {
        let mut truth = lock(&self.truth);
        truth.tally.writes += 1;
        let Some(seen) = truth.shares.get(at).cloned() else { return };
        let newest = truth.newest.entry(seen.id.job.clone()).or_default();
        let newer = *newest;
        *newest = newer.max(seen.generation);
        drop(truth);
        if newer > seen.generation {
            self.wrong(format!("{:?} of generation {} writes after {newer} did", seen.id, seen.generation));
        }
    }
    /// A share hears that a checkpoint is durable and published.
    pub(super) fn settled(&self, at: usize, epoch: u64) {
        let mut truth = lock(&self.truth);
        truth.tally.checkpoints += 1;
        let Some(job) = truth.shares.get(at).map(|s| s.id.job.clone()) else { return };
        let newest = truth.settled.entry(job).or_default();
        *newest = epoch.max(*newest);
    }
    pub(super) fn ended(&self, at: usize) {
        if let Some(seen) = lock(&self.truth).shares.get_mut(at) {
            seen.ended = true;
        }
    }
    /// How many slots an attempt of a job was given.
    pub(super) fn slots(&self, job: &str, attempt: u32) -> usize {
        lock(&self.truth).shares.iter().filter(|s| s.id.job == job && s.id.attempt == attempt).map(|s| s.slots).sum()
    }
    /// The shares of a job that may act; of all, if none is named.
    pub(super) fn acting(&self, job: Option<&str>) -> Vec<Seen> {
        let now = self.world.now();
        lock(&self.truth).shares.iter().filter(|s| s.acts(now) && job.is_none_or(|j| s.id.job == j)).cloned().collect()
    }
    /// The shares that were given to a process that lives, and have not ended.
    pub(super) fn held(&self) -> Vec<Seen> {
        lock(&self.truth).shares.iter().filter(|s| !s.ended).cloned().collect()
    }
}
