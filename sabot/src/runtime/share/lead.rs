//! The coordinator of all shares of a job, as seen from outside.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::lead_state::{State, Team};
use super::member::listed;
use super::{Fault, From, FromShare, Listed, NodeMetrics, Placement, Share, StageShape, ToShare};
use crate::operator::{PhysicalPlan, Split};
use crate::runtime::begin::{apart, check, coordinator, list, replayable};
use crate::runtime::carry::carry;
use crate::runtime::control::{Asked, Saving};
use crate::runtime::graph::Graph;
use crate::runtime::requests::Waiting;
use crate::runtime::settle::{Publishers, Settling};
use crate::runtime::shape::shapes;
use crate::runtime::storage::Owner;
use crate::runtime::store::{Begin, Opened, Store};
use crate::runtime::util::lock;
use crate::runtime::{Checkpoint, CheckpointReport, Done, Executor, Report, RunOptions, Savepoint, StepShape, Ticket, savepoints};
use crate::{Error, Result};

/// How long a share may go on without a word of its lead, and the lead waits for one of a share.
const LEASE: Duration = Duration::from_secs(5);

/// Leads one attempt to run a job: from its start, the newest checkpoint in its directory, or a savepoint, to its end.
///
/// All calls may come from any thread and do not block, but for [`open`](Self::open), [`begin`](Self::begin) and [`wait`](Self::wait).
pub struct Lead {
    pub(super) executor: Arc<dyn Executor>,
    pub(super) plan: Arc<PhysicalPlan>,
    pub(super) options: RunOptions,
    pub(super) settling: Option<Settling>,
    /// Whether the job had ended before this attempt.
    pub(super) ended_before: bool,
    /// What the sources have.
    pub(super) sources: Vec<Listed>,
    /// How many instances each node has.
    pub(super) counts: Vec<usize>,
    pub(super) lease: Duration,
    pub(super) done: Done,
    pub(super) outcome: Mutex<Option<Result<Report>>>,
    /// Is told what happens.
    pub(super) hears: OnceLock<Hears>,
    /// What every share begins with.
    template: Share,
    stages: Vec<StageShape>,
    state: Mutex<State>,
    inbox: Mutex<Inbox>,
    /// Savepoints that other processes wait for.
    answers: Waiting,
    /// The place of the checkpoints is this attempt's until it is over.
    owner: Mutex<Option<Owner>>,
}

/// Is told what is worth a log line, and of which share it is, if it is of one.
pub(super) type Hears = Box<dyn Fn(Option<usize>, &str) + Send + Sync>;

#[derive(Default)]
struct Inbox {
    events: VecDeque<Event>,
    /// Whether someone is about to look.
    awake: bool,
}

/// Something that happens to a lead.
pub(super) enum Event {
    From(usize, FromShare),
    /// The connection to a share is lost; the share may still run.
    Lost(usize, Error),
    /// A share's process has ended.
    Ended(usize, Error),
    Want(Asked),
    /// It is time for a checkpoint.
    Due,
    /// Someone wants one.
    Now,
    /// The checkpoint on its way was written, so many bytes.
    Wrote(Result<u64>),
    Pruned(Result<()>),
    /// Those who waited for it have their answer; the job may end with it.
    Answered(Option<String>),
    /// The same as before, once more.
    Again(super::lead_settle::Piece),
    Stop,
    Cancel(Error),
    /// An inquiry goes on.
    Inquire,
    /// Looks who was not heard.
    Look,
}

impl std::fmt::Debug for Lead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lead").field("generation", &self.template.generation).finish_non_exhaustive()
    }
}

/// What a job begins with.
fn begins(
    (plan, steps, splits): (&PhysicalPlan, &[StepShape], &BTreeMap<usize, Vec<Split>>),
    options: &RunOptions,
    begin: Begin,
) -> Result<(From, Option<Checkpoint>)> {
    Ok(match begin {
        Begin::Nothing => (From::Start, None),
        Begin::Newest(newest) => (From::Checkpoint(newest.epoch), Some(newest)),
        Begin::Savepoint(saved) => {
            let path = options.from_savepoint.clone().ok_or_else(|| Error::internal("a savepoint without a name"))?;
            let mut carried = carry(plan, steps, splits, saved.checkpoint.clone(), options.allow_dropped_state)?;
            // the shares read the states
            saved.load(&mut carried, |_| false)?;
            (From::Savepoint(path), Some(carried))
        }
    })
}

/// The stages that a [lead](Lead) will have, with so many instances of each parallel step: they depend on what the job begins with. Takes nothing.
///
/// # Errors
/// As for [`Lead::open`].
pub fn stages(plan: &PhysicalPlan, options: &RunOptions, parallelism: usize) -> Result<Vec<StageShape>> {
    let splits = list(plan)?;
    let steps = shapes(plan, &splits)?;
    let (_, checkpoint) = begins((plan, &steps, &splits), options, Store::look(options)?)?;
    Ok(Graph::new(plan, parallelism, |a, b| apart(plan, checkpoint.as_ref(), a, b))?.shapes(plan))
}

impl Lead {
    /// Takes the place of the job's checkpoints, if it has one ([`RunOptions::checkpoint_dir`]), and looks what the job begins with. The
    /// executor runs the lead's own work: an [`Inline`](crate::runtime::Inline) one does, on the thread that [waits](Self::wait).
    ///
    /// # Errors
    /// If the plan, the sources, or the place of the checkpoints do not allow it to run.
    pub fn open(plan: Arc<PhysicalPlan>, options: &RunOptions, parallelism: usize, executor: Arc<dyn Executor>) -> Result<Arc<Lead>> {
        Self::open_from(plan, options, parallelism, executor, None)
    }
    /// The same, or from a checkpoint that is given.
    pub(crate) fn open_from(
        plan: Arc<PhysicalPlan>,
        options: &RunOptions,
        parallelism: usize,
        executor: Arc<dyn Executor>,
        given: Option<&Checkpoint>,
    ) -> Result<Arc<Lead>> {
        let opened = Store::open(options)?;
        if opened.is_some() && given.is_some() {
            return Err(Error::usage(
                "a job continues from the checkpoints in its directory, or from the one given to it: give it one or the other",
            ));
        }
        let (owner, store, begin) =
            opened.map_or((None, None, Begin::Nothing), |Opened { owner, store, begin }| (owner, Some(store), begin));
        let splits = list(&plan)?;
        let steps = shapes(&plan, &splits)?;
        let (from, checkpoint) = match given {
            Some(given) => (From::Given(Box::new(given.clone())), Some(given.clone())),
            None => begins((&plan, &steps, &splits), options, begin)?,
        };
        let checkpoint = checkpoint.as_ref();
        check(&plan, checkpoint)?;
        if options.cuts() {
            replayable(&plan)?;
        }
        store.iter().try_for_each(|store| store.same_input(&steps))?;
        let graph = Graph::new(&plan, parallelism, |a, b| apart(&plan, checkpoint, a, b))?;
        let first = store.as_ref().map_or(0, |s| s.first);
        let epoch = checkpoint.map_or(0, |c| c.epoch).max(first.saturating_sub(1));
        // without checkpoints nothing counts the attempts but the clock
        let generation = store.as_ref().map_or_else(|| u64::try_from(executor.wall().as_micros()).unwrap_or(u64::MAX), |s| s.generation);
        let tasks = graph.stages.iter().flat_map(|s| std::iter::repeat_n(s.nodes.clone(), s.instances)).collect();
        let coordinator = coordinator(&plan, (&graph.instances, tasks), checkpoint, steps, epoch);
        let sources = listed(&plan, &splits)?;
        let probe = store.as_ref().map(|_| {
            let text = format!("{generation} {:016x}{:016x}", executor.random(), executor.random());
            (format!("probe-{generation}"), text)
        });
        let names = plan.nodes.iter().map(|n| n.name.clone()).collect();
        let template =
            Share { number: 0, placement: Placement::default(), parallelism, generation, epoch, from, steps: names, probe, lease: LEASE };
        Ok(Arc::new(Lead {
            settling: store.map(|store| Settling::new(store, Publishers::default(), checkpoint.map(|c| c.epoch))),
            ended_before: checkpoint.is_some_and(|c| c.finished.len() >= c.nodes.len()),
            sources,
            counts: graph.instances.clone(),
            lease: LEASE,
            done: Done::default(),
            outcome: Mutex::default(),
            hears: OnceLock::new(),
            template,
            stages: graph.shapes(&plan),
            state: Mutex::new(State::new(coordinator, executor.now())),
            inbox: Mutex::default(),
            answers: Waiting::default(),
            owner: Mutex::new(owner),
            options: options.clone(),
            executor,
            plan,
        }))
    }
    /// What the sources have.
    #[cfg(all(test, feature = "cluster"))]
    pub(crate) fn sources(&self) -> &[Listed] {
        &self.sources
    }
    /// The stages that are to be placed.
    pub fn stages(&self) -> &[StageShape] {
        &self.stages
    }
    /// What tells this attempt from all others: larger than that of every one before.
    pub fn generation(&self) -> u64 {
        self.template.generation
    }
    /// The steps of the physical plan, by number.
    pub fn nodes(&self) -> Vec<String> {
        self.plan.nodes.iter().map(|n| n.name.clone()).collect()
    }
    /// What the job begins with.
    pub fn from(&self) -> &From {
        &self.template.from
    }
    /// Decides who runs what, and how shares are told: by `send`, which must not block, nor call the lead. Returns what each share begins
    /// with.
    ///
    /// # Errors
    /// If the placement is not of these stages; if the place of the checkpoints cannot be written.
    pub fn begin(self: &Arc<Self>, placement: Placement, send: Arc<dyn Fn(usize, ToShare) + Send + Sync>) -> Result<Vec<Share>> {
        let instances: Vec<usize> = self.stages.iter().map(|s| s.instances).collect();
        placement.check(&instances)?;
        if let (Some(settling), Some((name, text))) = (&self.settling, &self.template.probe) {
            settling.store.storage.replace(name, text.as_bytes())?;
        }
        lock(&self.state).assemble(Team::new(placement.clone(), send, self.executor.now()));
        self.after(self.lease / 4, Event::Look);
        let share = |number| Share { number, placement: placement.clone(), ..self.template.clone() };
        Ok((0..placement.shares).map(share).collect())
    }
    /// Has `hears` told what is worth a log line when it happens, and of which share it is: what is tried again, queues that were let grow. It
    /// must not block, nor call the lead. Set once.
    pub fn on_event(&self, hears: impl Fn(Option<usize>, &str) + Send + Sync + 'static) {
        let _ = self.hears.set(Box::new(hears));
    }
    /// A share says something.
    pub fn on(self: &Arc<Self>, share: usize, message: FromShare) {
        self.post(Event::From(share, message));
    }
    /// A share cannot be heard any more: the job ends with this error. The share may still run, so [`wait`](Self::wait) waits until its
    /// lease is over.
    pub fn lost(self: &Arc<Self>, share: usize, error: Error) {
        self.post(Event::Lost(share, error));
    }
    /// The process of a share is known to have ended: the job ends with this error, unless it is over.
    pub fn ended(self: &Arc<Self>, share: usize, error: Error) {
        self.post(Event::Ended(share, error));
    }
    /// Asks for a checkpoint now; they also come by themselves.
    pub fn request_checkpoint(self: &Arc<Self>) {
        self.post(Event::Now);
    }
    /// Asks for a checkpoint with which the job then ends, with [`Error::Suspended`] of this name: it goes on elsewhere. Unlike a savepoint, nothing
    /// stays but the checkpoint.
    pub fn request_end(self: &Arc<Self>, name: &str) -> Ticket<()> {
        let ticket = Ticket::default();
        self.post(Event::Want(Asked::End(name.to_owned(), ticket.clone())));
        ticket
    }
    /// Asks for a savepoint of this name; with `stop` the job then ends with [`Error::Suspended`].
    pub fn request_savepoint(self: &Arc<Self>, name: &str, stop: bool) -> Ticket<Savepoint> {
        let ticket = Ticket::default();
        match savepoints::check_name(name) {
            Ok(()) => self.post(Event::Want(Asked::Save(Saving { name: name.to_owned(), stop, ticket: ticket.clone() }))),
            Err(error) => ticket.fill(Err(error)),
        }
        ticket
    }
    /// Asks for a checkpoint to hold.
    pub(crate) fn request_snapshot(self: &Arc<Self>) -> Ticket {
        let ticket = Ticket::default();
        self.post(Event::Want(Asked::Cut(ticket.clone())));
        ticket
    }
    /// Ends the job gracefully: sources end where they are, all rows drain, sinks commit.
    pub fn stop(self: &Arc<Self>) {
        self.post(Event::Stop);
    }
    /// Ends the job at once, with this error.
    pub fn cancel(self: &Arc<Self>, error: Error) {
        self.post(Event::Cancel(error));
    }
    /// Drives the lead's executor until the job is over, and no share can write any more: each has said that it has ended, or its lease is
    /// over.
    ///
    /// # Errors
    /// That with which the job ended.
    pub fn wait(self: &Arc<Self>) -> Result<Report> {
        self.executor.drive(&self.done);
        self.outcome().unwrap_or_else(|| Err(Error::internal("the executor stopped before the job was over")))
    }
    /// Whether the job is over, and no share can write any more.
    pub fn is_over(&self) -> bool {
        self.done.is_set()
    }
    /// Whether the job is ending: nothing more can be asked of it.
    pub fn is_ending(&self) -> bool {
        lock(&self.state).is_ending()
    }
    /// How the job ended, once.
    pub fn outcome(&self) -> Option<Result<Report>> {
        lock(&self.outcome).take()
    }
    /// The share whose error ended the job.
    pub fn failed_share(&self) -> Option<usize> {
        lock(&self.state).failed_share()
    }
    /// The share whose loss ended the job: it was not heard any more.
    pub fn lost_share(&self) -> Option<usize> {
        lock(&self.state).lost_share()
    }
    /// What each share has told of its steps last.
    pub fn metrics(&self) -> Vec<Vec<NodeMetrics>> {
        lock(&self.state).metrics()
    }
    /// The checkpoints so far.
    pub fn checkpoints(&self) -> CheckpointReport {
        self.settling.as_ref().map(Settling::report).unwrap_or_default()
    }

    /// The place of the checkpoints is free for another attempt.
    pub(crate) fn give_back(&self) {
        drop(lock(&self.owner).take());
    }
    /// Something has happened. It is looked at in order, one after the other, on the lead's executor.
    pub(super) fn post(self: &Arc<Self>, event: Event) {
        let mut inbox = lock(&self.inbox);
        inbox.events.push_back(event);
        if !std::mem::replace(&mut inbox.awake, true) {
            drop(inbox);
            self.wake();
        }
    }
    fn wake(self: &Arc<Self>) {
        let lead = Arc::downgrade(self);
        self.executor.spawn(Box::new(move || lead.upgrade().iter().for_each(Lead::take)));
    }
    fn take(self: &Arc<Self>) {
        let next = lock(&self.inbox).events.pop_front();
        if let Some(event) = next {
            lock(&self.state).on(self, event);
        }
        let mut inbox = lock(&self.inbox);
        inbox.awake = !inbox.events.is_empty();
        if inbox.awake {
            drop(inbox);
            self.wake();
        }
    }
    pub(super) fn after(self: &Arc<Self>, wait: Duration, event: Event) {
        let lead = Arc::downgrade(self);
        let run = move || lead.upgrade().into_iter().zip([event]).for_each(|(lead, event)| lead.post(event));
        self.executor.after(wait, Box::new(run));
    }
    /// Runs something that waits for a disk or a network, and posts what came of it.
    pub(super) fn aside(self: &Arc<Self>, work: impl FnOnce(&Lead) -> Option<Event> + Send + 'static) {
        let lead = Arc::downgrade(self);
        let run = move || {
            if let Some(lead) = lead.upgrade()
                && let Some(event) = work(&lead)
            {
                lead.post(event);
            }
        };
        self.executor.aside(Box::new(run));
    }
    /// What all shares have found is removed.
    pub(super) fn forget_probe(self: &Arc<Self>) {
        if let Some((name, _)) = self.template.probe.clone() {
            self.aside(move |lead| {
                // If it stays, nobody minds.
                lead.settling.iter().for_each(|s| _ = s.store.storage.remove(&name));
                None
            });
        }
    }
    /// Looks now and then for what other processes ask for.
    pub(super) fn listen(self: &Arc<Self>) {
        let Some(storage) = self.settling.as_ref().map(|s| Arc::clone(&s.store.storage)) else { return };
        let lead = Arc::downgrade(self);
        let look = move || {
            let Some(lead) = lead.upgrade().filter(|lead| !lead.is_over()) else { return };
            let Some(storage) = lead.settling.as_ref().map(|s| &s.store.storage) else { return };
            lead.answers.look(storage.as_ref(), |name, stop| lead.request_savepoint(name, stop));
            lead.listen();
        };
        let remote = self.settling.as_ref().is_some_and(|s| s.store.remote);
        let executor = Arc::downgrade(&self.executor);
        let tick = move || match executor.upgrade() {
            Some(executor) if remote => executor.aside(Box::new(look)),
            _ => look(),
        };
        self.executor.after(storage.pace().requests, Box::new(tick));
    }
    /// Gives the answers that are there to those who asked from other processes.
    pub(super) fn answer(&self) {
        if let Some(settling) = &self.settling {
            self.answers.answer(settling.store.storage.as_ref());
        }
    }
}

/// The error of a share that was not heard.
pub(super) fn silent(name: &str, lease: Duration) -> Error {
    Error::io(name, format!("was not heard for {lease:?}"), std::io::ErrorKind::TimedOut.into())
}

/// An error as a share is told of it.
pub(super) fn told(error: &Error) -> ToShare {
    ToShare::Abort(Fault::from(error))
}
