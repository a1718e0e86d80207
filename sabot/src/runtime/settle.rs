//! What follows when all parts of a checkpoint are there: it is made durable, then the sinks publish, one after the other,
//! then it is kept under a name if someone wants a savepoint, then the next may begin. Each is a piece of work of its own, so a
//! simulation can crash between any two.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::checkpoint::Checkpoint;
use super::control::Asked;
use super::coordinate::Cost;
use super::job::{Head, Job};
use super::retry::{Retry, patiently};
use super::seam::seam;
use super::sink::{SharedSink, prepared_in};
use super::store::Store;
use super::util::lock;
use super::{CheckpointReport, CheckpointTaken, Executor, RunOptions};
use crate::operator::{Beginning, PhysicalPlan, TwoPhase};
use crate::{Error, Result};

/// The checkpoints of a job that keeps them.
pub(super) struct Settling {
    pub(super) store: Store,
    pub(super) sinks: Publishers,
    /// Whether the next checkpoint has its time.
    armed: AtomicBool,
    begun: Mutex<Duration>,
    report: Mutex<CheckpointReport>,
}

/// The sinks that prepare their rows with each checkpoint, by node.
#[derive(Default)]
pub(super) struct Publishers(Vec<(String, SharedSink)>);

/// A checkpoint on its way.
struct Cut {
    checkpoint: Checkpoint,
    cost: Cost,
    bytes: u64,
    retry: Retry,
}

impl Publishers {
    /// Tells the sinks that a job begins that keeps checkpoints, and shows what was prepared with the one it continues from.
    ///
    /// # Errors
    /// If a sink refuses, or keeps all rows of a job that never ends.
    pub(super) fn begin(
        (generation, fenced): (u64, bool),
        plan: &PhysicalPlan,
        sinks: &std::collections::HashMap<usize, SharedSink>,
        (from, savepoint): (Option<&Checkpoint>, bool),
        (executor, options, events): (&Arc<dyn Executor>, &RunOptions, &mut Vec<String>),
    ) -> Result<Publishers> {
        let mut taking = Vec::new();
        for (number, node) in plan.nodes.iter().enumerate() {
            let Some(shared) = sinks.get(&number) else { continue };
            let mut sink = lock(shared);
            let who = sink.describe();
            let prepared = from.map(|c| prepared_in(c, &node.name)).transpose()?.flatten();
            if sink.two_phase().is_none() {
                if node.bounded {
                    continue;
                }
                return Err(Error::Usage(format!(
                    "{who} shows nothing before the end of the job, and `{}` never ends: with checkpoints, write to a directory (`out/`), which gets a file with each checkpoint",
                    node.name
                )));
            }
            let mut call = |call: &mut dyn FnMut(&mut dyn TwoPhase) -> Result<()>| {
                patiently(executor, options, events, &who, || sink.two_phase().map_or(Ok(()), &mut *call))
            };
            call(&mut |two| two.begin(Beginning { generation, fenced, from: prepared.as_ref(), savepoint }))?;
            seam("begun");
            if let Some(prepared) = prepared.as_ref().filter(|_| !savepoint) {
                call(&mut |two| two.publish(prepared))?;
            }
            seam("continued");
            taking.push((node.name.clone(), Arc::clone(shared)));
        }
        Ok(Publishers(taking))
    }
    /// Whether a node is a sink that prepares its rows with each checkpoint.
    pub(super) fn takes_part(&self, node: &str) -> bool {
        self.0.iter().any(|(name, _)| name == node)
    }
    fn publish(&self, sink: usize, checkpoint: &Checkpoint) -> Result<()> {
        let Some((node, sink)) = self.0.get(sink) else { return Ok(()) };
        let Some(prepared) = prepared_in(checkpoint, node)? else { return Ok(()) };
        lock(sink).two_phase().map_or(Ok(()), |two| two.publish(&prepared))
    }
}

impl Settling {
    /// For the checkpoints of a job that continues from the one of this number, if any.
    pub(super) fn new(store: Store, sinks: Publishers, restored: Option<u64>) -> Settling {
        let report = CheckpointReport { restored, ..CheckpointReport::default() };
        Settling { store, sinks, armed: AtomicBool::new(false), begun: Mutex::default(), report: Mutex::new(report) }
    }
    pub(super) fn settled(&self, checkpoint: &Checkpoint, bytes: u64, cost: Cost, now: Duration) {
        let time = now.saturating_sub(*lock(&self.begun));
        let known = checkpoint.states.iter().filter_map(|s| s.stored.as_ref()).map(|s| s.length).sum::<u64>();
        let reused = known.saturating_sub(cost.written);
        let taken = CheckpointTaken { epoch: checkpoint.epoch, written: bytes + cost.written, reused, aligned: cost.aligned, time };
        lock(&self.report).add(taken);
    }
    /// What was done.
    pub(super) fn report(&self) -> CheckpointReport {
        lock(&self.report).clone()
    }
    /// Gives a durable checkpoint, whose sinks have published, to those who wait for it. Returns the name with which the job ends, if
    /// one of them wants that.
    pub(super) fn answer(&self, mut checkpoint: Checkpoint, waiting: Vec<Asked>) -> Option<String> {
        if waiting.is_empty() {
            return None;
        }
        // a savepoint takes the states from their files
        let loaded = match waiting.iter().any(|asked| matches!(asked, Asked::Cut(..))) {
            true => self.store.load(&mut checkpoint).map_err(|e| e.to_string()),
            false => Ok(()),
        };
        let mut end = None;
        for asked in waiting {
            if let Err(error) = &loaded {
                asked.refuse(Error::Checkpoint(error.clone()));
                continue;
            }
            match asked {
                Asked::Cut(ticket) => ticket.fill(Ok(checkpoint.whole())),
                Asked::End(name, ticket) => {
                    seam("ended");
                    end = Some(name);
                    ticket.fill(Ok(()));
                }
                Asked::Save(saving) => {
                    seam("saving");
                    let saved = self.store.save(&saving.name, &checkpoint);
                    seam("saved");
                    if let Ok(saved) = &saved {
                        lock(&self.report).savepoints.push(saved.clone());
                    }
                    if saved.is_ok() && saving.stop {
                        end = Some(saving.name);
                    }
                    saving.ticket.fill(saved);
                }
            }
        }
        end
    }
    /// The last checkpoint, of a job that is over: nothing runs any more. After it, all rows of all sinks that take part are
    /// shown.
    pub(super) fn last(
        &self,
        checkpoint: &Checkpoint,
        executor: &Arc<dyn Executor>,
        options: &RunOptions,
        events: &mut Vec<String>,
    ) -> Result<()> {
        self.began(executor.now());
        seam("cut");
        let mut bytes = 0;
        patiently(executor, options, events, "the last checkpoint", || {
            bytes = self.store.write(checkpoint)?;
            Ok(())
        })?;
        seam("written");
        for (number, (node, _)) in self.sinks.0.iter().enumerate() {
            patiently(executor, options, events, node, || self.sinks.publish(number, checkpoint))?;
            seam("published");
        }
        patiently(executor, options, events, "old checkpoints", || self.store.prune())?;
        self.settled(checkpoint, bytes, Cost::default(), executor.now());
        Ok(())
    }
    pub(super) fn began(&self, now: Duration) {
        *lock(&self.begun) = now;
    }
}

impl Job {
    /// Sets the time of the next checkpoint.
    pub(super) fn arm(self: &Arc<Self>) {
        let Some(settling) = self.settling() else { return };
        if settling.armed.swap(true, SeqCst) {
            return;
        }
        let job = Arc::downgrade(self);
        let tick = move || {
            if let Some(job) = job.upgrade()
                && let Some(settling) = job.settling()
            {
                settling.armed.store(false, SeqCst);
                job.ask(None);
            }
        };
        self.executor.after(self.options.checkpoint_every, Box::new(tick));
    }
    /// Looks now and then for what other processes ask for.
    pub(super) fn listen(self: &Arc<Self>) {
        let Some(storage) = self.settling().map(|s| Arc::clone(&s.store.storage)) else { return };
        let pace = storage.pace().requests;
        let job = Arc::downgrade(self);
        let look = move || {
            let Some(job) = job.upgrade().filter(|job| !job.is_aborted() && !job.done.is_set()) else { return };
            job.answers.look(storage.as_ref(), |name, stop| job.control.request_savepoint(name, stop));
            job.listen();
        };
        let job = Arc::downgrade(self);
        let tick = move || {
            if let Some(job) = job.upgrade() {
                if job.is_remote() { job.executor.aside(Box::new(look)) } else { look() }
            }
        };
        self.executor.after(pace, Box::new(tick));
    }
    /// Whether those who write checkpoints wait for a network.
    pub(super) fn is_remote(&self) -> bool {
        match &self.head {
            Head::Here(_, settling) => settling.as_ref().is_some_and(|s| s.store.remote),
            Head::Away(away) => away.store.as_ref().is_some_and(|s| s.remote),
        }
    }
    /// The job is over: answers those who still wait.
    pub(super) fn hang_up(&self) {
        if let Some(settling) = self.settling() {
            self.answers.hang_up(settling.store.storage.as_ref());
        }
    }
    /// A checkpoint was asked for and begins.
    pub(super) fn began(&self) {
        if let Some(settling) = self.settling() {
            settling.began(self.executor.now());
        }
    }
    /// All parts of a checkpoint are there.
    pub(super) fn settle(self: &Arc<Self>, checkpoint: Checkpoint, cost: Cost) {
        if self.settling().is_none() {
            for asked in self.coordinator().map(|mut c| c.waiting()).unwrap_or_default() {
                if let Asked::Cut(ticket) = asked {
                    ticket.fill(Ok(checkpoint.clone()));
                }
            }
            return self.settled();
        }
        self.piece(Cut { checkpoint, cost, bytes: 0, retry: Retry::default() }, 0, Duration::ZERO);
    }
    /// Piece 0 writes the checkpoint, the next publish a sink each, the last removes what is old.
    fn piece(self: &Arc<Self>, mut cut: Cut, number: usize, wait: Duration) {
        let job = Arc::clone(self);
        let work = move || {
            let Some(settling) = job.settling() else { return Ok(()) };
            let done = match number.checked_sub(1) {
                None => {
                    seam("cut");
                    settling.store.write(&cut.checkpoint).map(|bytes| cut.bytes = bytes)
                }
                Some(sink) if sink < settling.sinks.0.len() => settling.sinks.publish(sink, &cut.checkpoint),
                Some(_) => settling.store.prune(),
            };
            if let Err(error) = done {
                let who = number.checked_sub(1).and_then(|n| settling.sinks.0.get(n)).map_or("a checkpoint", |(node, _)| node);
                let pause = cut.retry.pause(who, error, (job.options.retries, job.options.retry_wait))?;
                job.event(pause.why);
                job.piece(cut, number, pause.wait);
                return Ok(());
            }
            cut.retry.over();
            match number {
                0 => seam("written"),
                n if n <= settling.sinks.0.len() => seam("published"),
                _ => {}
            }
            if number <= settling.sinks.0.len() {
                job.piece(cut, number + 1, Duration::ZERO);
                return Ok(());
            }
            settling.settled(&cut.checkpoint, cut.bytes, cut.cost, job.executor.now());
            let waiting = job.coordinator().map(|mut c| c.waiting()).unwrap_or_default();
            if let Some(name) = settling.answer(cut.checkpoint, waiting) {
                return Err(Error::Suspended(name));
            }
            job.settled();
            job.arm();
            Ok(())
        };
        self.beside_after(wait, Box::new(work));
    }
}
