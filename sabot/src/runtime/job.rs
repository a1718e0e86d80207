//! A running job: its tasks, who may run, and how it ends.
//!
//! Idea: a task is idle, queued, running, or running with a wake-up pending: one atomic per task, so that a task is
//! run by one worker at a time and no wake-up is lost. The executor only sees "run task n".
//!
//! The job counts tasks that are queued or running. When none is, nothing can happen by itself any more but timers. If a
//! task then waits for room in a channel, the wait is circular (a join that takes one side first, an input that
//! waits for its turn): the limits of the channels waited for are doubled and their producers woken. If no task waits
//! and none sleeps, a mark was lost: the job ends with an internal error instead of hanging. While something outside is
//! still to wake a task, neither is the case.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use super::chain::placed;
use super::checkpoint::NodeState;
use super::control::Asked;
use super::coordinate::{Coordinator, Part};
use super::drift::Drift;
use super::ledger::Ledger;
use super::needs::Needs;
use super::progress::Progress;
use super::requests::Waiting;
use super::settle::Settling;
use super::share::{Away, FromShare};
use super::store::Store;
use super::task::{Moved, Task, Turn};
use super::util::lock;
use super::{Control, Done, Executor, RunOptions, WorkerReport};
use crate::operator::Frozen;
use crate::shuffle::Channel;
use crate::{Error, Result};

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const WOKEN: u8 = 3;
const OVER: u8 = 4;

/// Events kept for the report; a job that flaps does not fill memory.
const EVENTS: usize = 1000;

pub(super) struct Slot {
    state: AtomicU8,
    asleep: AtomicBool,
    source: bool,
    pub(super) task: Mutex<Option<Task>>,
}

impl Slot {
    pub(super) fn new(task: Task, source: bool) -> Self {
        Slot { state: AtomicU8::new(QUEUED), asleep: AtomicBool::new(false), source, task: Mutex::new(Some(task)) }
    }
}

/// Who collects the parts of checkpoints, and says when the job is over.
// One per job: a large one costs nothing.
#[allow(clippy::large_enum_variant)]
pub(super) enum Head {
    /// The job itself, which may keep them.
    Here(Mutex<Coordinator>, Option<Settling>),
    /// The lead of several shares, of which the job is one.
    Away(Box<Away>),
}

pub(super) struct Job {
    pub(super) executor: Arc<dyn Executor>,
    pub(super) options: RunOptions,
    pub(super) control: Control,
    pub(super) names: Vec<String>,
    /// Instances of each node.
    pub(super) counts: Vec<usize>,
    pub(super) done: Done,
    pub(super) progress: Progress,
    pub(super) slots: OnceLock<Vec<Slot>>,
    pub(super) channels: Vec<Arc<Channel>>,
    /// Queued or running tasks, and work beside them.
    pub(super) active: AtomicUsize,
    /// Tasks that are not over, and work beside them.
    pub(super) remaining: AtomicUsize,
    pub(super) activations: AtomicU64,
    pub(super) sleeping: AtomicUsize,
    /// Futures and timers that will wake a task.
    pub(super) outside: AtomicUsize,
    pub(super) aborted: AtomicBool,
    pub(super) error: Mutex<Option<Error>>,
    /// Who collects the parts of checkpoints, and says when the job is over.
    pub(super) head: Head,
    pub(super) epoch: AtomicU64,
    /// Savepoints that other processes wait for.
    pub(super) answers: Waiting,
    pub(super) needs: Needs,
    pub(super) ledger: Ledger,
    pub(super) drift: Arc<Drift>,
    pub(super) workers: Vec<Mutex<WorkerReport>>,
    pub(super) events: Mutex<Vec<String>>,
}

impl Job {
    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(SeqCst)
    }
    pub(super) fn event(&self, event: String) {
        if let Some(away) = self.away() {
            return away.say(event, self.executor.now());
        }
        let mut events = lock(&self.events);
        if events.len() < EVENTS {
            events.push(event);
        }
    }
    pub(super) fn coordinator(&self) -> Option<MutexGuard<'_, Coordinator>> {
        if let Head::Here(coordinator, _) = &self.head { Some(lock(coordinator)) } else { None }
    }
    /// Where checkpoints are kept, if this job does that.
    pub(super) fn settling(&self) -> Option<&Settling> {
        if let Head::Here(_, settling) = &self.head { settling.as_ref() } else { None }
    }
    pub(super) fn away(&self) -> Option<&Away> {
        if let Head::Away(away) = &self.head { Some(away) } else { None }
    }
    /// Where states are put by, if they are kept in files.
    fn store(&self) -> Option<&Store> {
        match &self.head {
            Head::Here(_, settling) => settling.as_ref().map(|s| &s.store),
            Head::Away(away) => away.store.as_ref(),
        }
    }
    pub(super) fn slots(&self) -> &[Slot] {
        self.slots.get().map_or(&[], Vec::as_slice)
    }
    fn slot(&self, id: usize) -> Option<&Slot> {
        self.slots().get(id)
    }

    /// Gives every task its first turn.
    pub(super) fn start(self: &Arc<Self>) {
        for id in 0..self.slots().len() {
            self.enqueue(id);
        }
    }
    fn enqueue(self: &Arc<Self>, id: usize) {
        let job = Arc::clone(self);
        self.executor.spawn(Box::new(move || job.run(id)));
    }
    /// Makes a task run, now or once more after its present turn.
    pub(super) fn wake(self: &Arc<Self>, id: usize) {
        let Some(slot) = self.slot(id) else { return self.away().map_or((), |away| away.wake(id)) };
        self.activations.fetch_add(1, SeqCst);
        loop {
            let (from, to) = match slot.state.load(SeqCst) {
                IDLE => (IDLE, QUEUED),
                RUNNING => (RUNNING, WOKEN),
                _ => return,
            };
            if slot.state.compare_exchange(from, to, SeqCst, SeqCst).is_ok() {
                if from == IDLE {
                    self.active.fetch_add(1, SeqCst);
                    self.enqueue(id);
                }
                return;
            }
        }
    }
    pub(super) fn wake_sources(self: &Arc<Self>) {
        for (id, _) in self.slots().iter().enumerate().filter(|(_, s)| s.source) {
            self.wake(id);
        }
    }
    /// Runs `work` beside the tasks; the job does not end before it.
    pub(super) fn beside(self: &Arc<Self>, work: Box<dyn FnOnce() -> Result<()> + Send>) {
        self.beside_after(Duration::ZERO, work);
    }
    /// The same, not before `wait` is over.
    pub(super) fn beside_after(self: &Arc<Self>, wait: Duration, work: Box<dyn FnOnce() -> Result<()> + Send>) {
        self.active.fetch_add(1, SeqCst);
        self.remaining.fetch_add(1, SeqCst);
        let job = Arc::clone(self);
        let run = Box::new(move || {
            let work = || if job.is_aborted() { Ok(()) } else { work() };
            match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(())) => {}
                Ok(Err(e)) => job.fail(e),
                Err(panic) => job.fail(Error::internal(format!("panic while writing a checkpoint: {}", message(&*panic)))),
            }
            job.leave(true);
        });
        match (self.is_remote(), wait.is_zero()) {
            (false, true) => self.executor.spawn(run),
            (false, false) => self.executor.after(wait, run),
            (true, true) => self.executor.aside(run),
            (true, false) => {
                let executor = Arc::clone(&self.executor);
                self.executor.after(wait, Box::new(move || executor.aside(run)));
            }
        }
    }
    /// Keeps the job from ending, and from standing still, until [`leave`](Self::leave); unless it is over.
    fn hold(&self) -> bool {
        self.active.fetch_add(1, SeqCst);
        let held = self.remaining.fetch_update(SeqCst, SeqCst, |n| (n > 0).then_some(n + 1)).is_ok();
        if !held {
            self.active.fetch_sub(1, SeqCst);
        }
        held
    }

    fn run(self: &Arc<Self>, id: usize) {
        let Some(slot) = self.slot(id) else { return };
        slot.state.store(RUNNING, SeqCst);
        let start = self.executor.now();
        let mut moved = Moved::default();
        let mut guard = lock(&slot.task);
        let result = match guard.as_mut() {
            Some(task) if !self.is_aborted() => match catch_unwind(AssertUnwindSafe(|| task.turn(self, &mut moved))) {
                Ok(Ok(turn)) => Ok(turn),
                Ok(Err(e)) => Err(placed(e, task.chain.place(&self.names))),
                Err(panic) => {
                    let (operator, row) = task.chain.place(&self.names);
                    Err(Error::Operator { operator: operator.to_string(), what: format!("panicked: {}", message(&*panic)), row })
                }
            },
            _ => Ok(Turn::Done),
        };
        let turn = result.unwrap_or_else(|e| {
            self.fail(e);
            Turn::Done
        });
        if let (Some(away), Some(task)) = (self.away(), guard.as_mut()) {
            away.meter(task, turn == Turn::Done);
        }
        let over = (turn == Turn::Done).then(|| guard.take());
        drop(guard);
        // State of a task may be large, or panic again when dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(over)));
        if let Some(worker) = self.workers.get(self.executor.worker()) {
            let mut worker = lock(worker);
            worker.turns += 1;
            worker.morsels += moved.morsels;
            worker.rows += moved.rows;
            worker.busy += self.executor.now().saturating_sub(start);
        }
        match turn {
            Turn::Again => {
                slot.state.store(QUEUED, SeqCst);
                self.enqueue(id);
            }
            Turn::Done => {
                slot.state.store(OVER, SeqCst);
                self.leave(true);
            }
            Turn::Wait | Turn::Sleep(_) => {
                if let Turn::Sleep(delay) = turn
                    && !slot.asleep.swap(true, SeqCst)
                {
                    self.sleeping.fetch_add(1, SeqCst);
                    // Weak: the executor may outlive the job with the timer still in it.
                    let job = Arc::downgrade(self);
                    self.executor.after(delay, Box::new(move || job.upgrade().iter().for_each(|job| job.rise(id))));
                }
                if slot.state.compare_exchange(RUNNING, IDLE, SeqCst, SeqCst).is_ok() {
                    self.leave(false);
                } else {
                    slot.state.store(QUEUED, SeqCst);
                    self.enqueue(id);
                }
            }
        }
    }
    fn rise(self: &Arc<Self>, id: usize) {
        if let Some(slot) = self.slot(id) {
            slot.asleep.store(false, SeqCst);
            self.wake(id);
            self.sleeping.fetch_sub(1, SeqCst);
        }
    }

    /// A task, or work beside, is no longer active; `over` if it never will be again.
    pub(super) fn leave(self: &Arc<Self>, over: bool) {
        if over && self.remaining.fetch_sub(1, SeqCst) == 1 {
            self.end();
        }
        if self.active.fetch_sub(1, SeqCst) == 1 {
            if self.is_aborted() {
                self.end();
            } else if !self.done.is_set() {
                self.stand_still();
            }
        }
    }
    pub(super) fn end(&self) {
        self.done.set();
        self.executor.nudge();
    }
    /// Something outside has ended, and has woken its task if that was due.
    pub(super) fn landed(self: &Arc<Self>) {
        if self.outside.fetch_sub(1, SeqCst) == 1 && self.active.load(SeqCst) == 0 && !self.is_aborted() && !self.done.is_set() {
            self.stand_still();
        }
    }
    fn stand_still(self: &Arc<Self>) {
        if self.outside.load(SeqCst) > 0 {
            return;
        }
        if self.away().is_some() {
            return self.suspect();
        }
        let before = self.activations.load(SeqCst);
        if self.relax() {
            return;
        }
        let quiet = self.active.load(SeqCst) == 0 && self.sleeping.load(SeqCst) == 0 && self.remaining.load(SeqCst) > 0;
        if quiet && !self.done.is_set() && self.activations.load(SeqCst) == before {
            self.fail(Error::internal("no step of the job can go on"));
        }
    }

    /// Lets the full queues grow that someone waits for. Returns whether there are some.
    pub(super) fn relax(self: &Arc<Self>) -> bool {
        let mut relaxed = 0;
        for channel in self.channels.iter().filter(|c| c.waited_for()) {
            if channel.relax() {
                relaxed += 1;
                self.wake(channel.producer);
            }
        }
        if relaxed > 0 {
            self.event(format!("{relaxed} full queues were let grow, because every step waited for another"));
        }
        relaxed > 0
    }

    /// Ends the job with an error; the first one counts.
    pub(super) fn fail(&self, error: Error) {
        lock(&self.error).get_or_insert(error);
        self.aborted.store(true, SeqCst);
        if self.active.load(SeqCst) == 0 {
            self.end();
        }
    }

    /// An operator instance needs no more input. Sources that nobody needs any more end, calls that are out are dropped.
    pub(super) fn satisfied(self: &Arc<Self>, node: usize) {
        if let Some(away) = self.away() {
            away.tell(FromShare::Satisfied { node });
        }
        self.satisfied_there(node);
    }
    /// The same, of an instance that may be in another process.
    pub(super) fn satisfied_there(self: &Arc<Self>, node: usize) {
        if self.needs.satisfied(node) {
            self.wake_all();
        }
    }
    pub(super) fn wake_all(self: &Arc<Self>) {
        (0..self.slots().len()).for_each(|id| self.wake(id));
    }
    /// Whether the source `node` shall end where it is.
    pub(super) fn sources_stop(&self, node: usize) -> bool {
        self.control.is_stopped() || self.needs.over(node)
    }

    pub(super) fn want(self: &Arc<Self>, asked: Asked) {
        if !self.options.cuts() {
            return asked.refuse(Error::Checkpoint("the job was started without checkpoints (`RunOptions::checkpoints`)".into()));
        }
        if !matches!(&asked, Asked::Cut(_)) && self.settling().is_none() {
            return asked.refuse(Error::Checkpoint(
                "savepoints are kept beside checkpoints: start the job with a directory for them (`--checkpoint-dir`)".into(),
            ));
        }
        self.ask(Some(asked));
    }
    /// Asks for a checkpoint, unless the job is over.
    pub(super) fn ask(self: &Arc<Self>, asked: Option<Asked>) -> bool {
        if !self.hold() {
            asked.iter().for_each(|a| a.refuse(Error::Checkpoint("the job is over".into())));
            return false;
        }
        let epoch = self.coordinator().and_then(|mut c| c.request(asked));
        self.begin(epoch);
        self.leave(true);
        true
    }
    /// The epoch to cut now, if it is later than `seen`.
    pub(super) fn epoch_after(&self, seen: u64) -> Option<u64> {
        Some(self.epoch.load(SeqCst)).filter(|e| *e > seen)
    }
    pub(super) fn cutting(&self, task: usize) {
        match &self.head {
            Head::Here(coordinator, _) => lock(coordinator).cutting(task),
            Head::Away(away) => away.tell(FromShare::Cutting { task: away.global(task) }),
        }
    }
    pub(super) fn cut(self: &Arc<Self>, task: usize, part: Part) {
        let epoch = match &self.head {
            Head::Here(coordinator, _) => lock(coordinator).cut(task, part),
            Head::Away(away) => return away.tell(FromShare::Cut { task: away.global(task), part: Box::new(part) }),
        };
        self.begin(epoch);
    }
    pub(super) fn finish(self: &Arc<Self>, task: usize, part: Part) {
        let epoch = match &self.head {
            Head::Here(coordinator, _) => lock(coordinator).finish(task, part),
            Head::Away(away) => return away.tell(FromShare::Finished { task: away.global(task), part: Box::new(part) }),
        };
        self.begin(epoch);
    }
    fn begin(self: &Arc<Self>, epoch: Option<u64>) {
        if let Some(epoch) = epoch {
            self.began();
            self.epoch.fetch_max(epoch, SeqCst);
            self.wake_sources();
        }
        let ready = self.coordinator().and_then(|mut c| c.take_ready());
        if let Some((checkpoint, cost)) = ready {
            self.settle(checkpoint, cost);
        }
    }
    /// A checkpoint is where it belongs; the next may begin.
    pub(super) fn settled(self: &Arc<Self>) {
        let epoch = self.coordinator().and_then(|mut c| c.settled());
        self.begin(epoch);
    }
    /// Whether the last cut of an instance is stored, so that the next need only say what has changed.
    pub(super) fn knows(&self, node: usize, instance: usize) -> bool {
        self.store().zip(self.names.get(node)).is_some_and(|(store, name)| store.knows(name, instance))
    }
    /// What a checkpoint is to hold of the cut of an instance, and the bytes that were written to a file for it.
    pub(super) fn put_by(&self, epoch: u64, node: &str, instance: usize, frozen: Frozen) -> Result<(Vec<NodeState>, u64)> {
        let state = |state| NodeState { node: node.to_owned(), instance, state, stored: None, rows: None, of: 0 };
        if let Some(store) = self.store() {
            let delta = frozen.write_changes()?;
            // a sink publishes what the checkpoint itself holds
            let publishes = match &self.head {
                Head::Here(_, settling) => settling.as_ref().is_some_and(|s| s.sinks.takes_part(node)),
                Head::Away(away) => away.sinks.takes_part(node),
            };
            if publishes {
                return Ok((delta.states.into_iter().map(state).collect(), 0));
            }
            let (mut states, written) = store.put_by(epoch, node, instance, delta)?;
            let of = self.names.iter().position(|n| n == node).and_then(|at| self.counts.get(at)).copied().unwrap_or_default();
            states.iter_mut().filter(|s| s.rows.is_some()).for_each(|s| s.of = of);
            return Ok((states, written));
        }
        Ok((frozen.write()?.into_iter().map(state).collect(), 0))
    }
}

pub(super) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a message".into())
}
