//! One share of a job, from what it is given to its report.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::away::{Away, ShareHost, Up, unheard};
use super::lease::Lease;
use super::meter::Meter;
use super::{Carrier, Fault, From, FromShare, Listed, Share, ShareReport, ToShare};
use crate::kernel::hash::{KEY_GROUPS, hash_bytes, instance_of};
use crate::operator::{BoundSink, Exchange, LAYERED, PhysicalNode, PhysicalPlan, SHARED, SpillDir, Split, StateDisk, Work};
use crate::runtime::begin::{Parts, apart, assemble, check, list, replayable, sum};
use crate::runtime::build::Build;
use crate::runtime::carry::carry;
use crate::runtime::checkpoint::NodeState;
use crate::runtime::graph::Graph;
use crate::runtime::job::{Head, Job, message};
use crate::runtime::ledger::Ledger;
use crate::runtime::progress::Progress;
use crate::runtime::saved::Saved;
use crate::runtime::settle::Publishers;
use crate::runtime::shape::shapes;
use crate::runtime::sink::SharedSink;
use crate::runtime::store::Store;
use crate::runtime::util::lock;
use crate::runtime::{Control, Executor, RunOptions, launch, place};
use crate::shuffle::Links;
use crate::{Error, Result};

/// Opens the sinks of these nodes.
pub(crate) type OpenSinks<'a> = Box<dyn Fn(&[usize]) -> Result<Vec<BoundSink>> + Send + Sync + 'a>;

/// A share. Whoever has it has it [look](Self::look) first, and hears the lead: calls [`prepare`](Self::prepare) on [`ToShare::Prepare`] and
/// [`on`](Self::on) for the rest; drives the executor until it [is over](Self::is_over); calls [`beat`](Self::beat) every [`BEAT`] until then; and
/// [ends](Self::end) it.
pub(crate) struct Member<'a> {
    executor: Arc<dyn Executor>,
    plan: Arc<PhysicalPlan>,
    options: RunOptions,
    open: OpenSinks<'a>,
    share: Share,
    carrier: Arc<dyn Carrier>,
    up: Up,
    lease: Arc<Lease>,
    splits: Mutex<BTreeMap<usize, Vec<Split>>>,
    sinks: Mutex<HashMap<usize, SharedSink>>,
    dir: Mutex<Option<SpillDir>>,
    job: OnceLock<Arc<Job>>,
    /// What happened before there was a job.
    early: Mutex<Early>,
    signal: Condvar,
}

#[derive(Default)]
struct Early {
    prepare: bool,
    error: Option<Error>,
}

/// How often a share asks whether its lead is there.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

impl<'a> Member<'a> {
    /// A share of which nothing was done yet.
    pub(crate) fn new(
        executor: Arc<dyn Executor>,
        (plan, options): (Arc<PhysicalPlan>, &RunOptions),
        open: OpenSinks<'a>,
        share: Share,
        carrier: Arc<dyn Carrier>,
        up: Up,
    ) -> Member<'a> {
        let lease = Arc::new(Lease::new(share.lease, executor.now()));
        Member {
            executor,
            plan,
            options: options.clone(),
            open,
            share,
            carrier,
            up,
            lease,
            splits: Mutex::default(),
            sinks: Mutex::default(),
            dir: Mutex::default(),
            job: OnceLock::new(),
            early: Mutex::default(),
            signal: Condvar::new(),
        }
    }
    /// Looks what there is to read, and tells the lead. No sink is touched yet. That may take long: the lead is to hear
    /// [beats](Self::beat) meanwhile. If the job cannot be run here, the share ends.
    pub(crate) fn look(&self) {
        self.beat();
        match caught(|| self.listed()) {
            Ok(sources) => (self.up)(FromShare::Hello { sources }),
            Err(error) => self.fail(error),
        }
    }
    fn listed(&self) -> Result<Vec<Listed>> {
        let splits = list(&self.plan)?;
        check(&self.plan, None)?;
        if self.options.cuts() {
            replayable(&self.plan)?;
        }
        if let Some(dir) = &self.options.checkpoint_dir {
            find(dir, &self.share, &self.options)?;
        }
        let sources = listed(&self.plan, &splits)?;
        *lock(&self.splits) = splits;
        Ok(sources)
    }
    /// Asks whether the lead is there; ends the share if it was not heard for too long.
    pub(crate) fn beat(&self) {
        let now = self.executor.now();
        if self.lease.is_over(now) {
            self.fail(unheard(self.lease.length()));
            return;
        }
        (self.up)(FromShare::Beat { number: self.lease.ask(now) });
        if let Some(job) = self.job.get() {
            (self.up)(FromShare::Metrics(job.metrics()));
        }
    }
    /// The lead says something.
    pub(crate) fn on(&self, message: ToShare) {
        match (message, self.job.get()) {
            (ToShare::Prepare, _) => {
                lock(&self.early).prepare = true;
                self.signal.notify_all();
            }
            (ToShare::Beat { number }, _) => self.lease.answer(number),
            (ToShare::Abort(fault), _) => self.fail(fault.into()),
            (message, Some(job)) => job.on(message),
            (_, None) => {}
        }
    }
    /// Ends the share with an error.
    pub(crate) fn fail(&self, error: Error) {
        let mut early = lock(&self.early);
        match self.job.get() {
            Some(job) => {
                drop(early);
                job.fail_and_end(error);
            }
            None => {
                early.error.get_or_insert(error);
                self.signal.notify_all();
            }
        }
    }
    /// Waits until the lead wants it to [prepare](Self::prepare), or it has failed.
    pub(crate) fn wait(&self) {
        let mut early = lock(&self.early);
        while !early.prepare && early.error.is_none() {
            early = self.signal.wait(early).unwrap_or_else(PoisonError::into_inner);
        }
    }
    /// Makes the tasks that are here, and opens the links; then it is ready.
    pub(crate) fn prepare(&self) {
        if lock(&self.early).error.is_some() {
            return;
        }
        let (job, links) = match caught(|| self.wire()) {
            Ok(wired) => wired,
            Err(error) => return self.fail(error),
        };
        let ready = self.ready(&job);
        let mut early = lock(&self.early);
        let error = early.error.take();
        // Set once, here.
        let _ = self.job.set(Arc::clone(&job));
        drop(early);
        match error.map_or_else(|| self.carrier.start(links), Err) {
            Ok(()) => (self.up)(ready),
            Err(error) => job.fail_and_end(error),
        }
    }
    fn ready(&self, job: &Job) -> FromShare {
        let name = |node: &usize| self.plan.nodes.get(*node).map_or("", |n| &n.name);
        let publishes = |node: &usize| job.away().is_some_and(|away| away.sinks.takes_part(name(node)));
        let (publish, commit) = lock(&self.sinks).keys().copied().partition(publishes);
        FromShare::Ready { publish, commit }
    }
    fn wire(&self) -> Result<(Arc<Job>, Links)> {
        let (plan, options, share) = (self.plan.as_ref(), &self.options, &self.share);
        let splits = std::mem::take(&mut *lock(&self.splits));
        let store = options.checkpoint_dir.as_ref().map(|dir| Store::beside(dir, options, (share.generation, share.number)));
        let store = store.transpose()?;
        let savepoint = matches!(share.from, From::Savepoint(_));
        let mut saved = None;
        let mut checkpoint = match &share.from {
            From::Start => None,
            From::Checkpoint(epoch) => {
                let store =
                    store.as_ref().ok_or_else(|| Error::internal("a share begins with a checkpoint, but knows of no place for them"))?;
                Some(store.manifest(*epoch)?)
            }
            From::Given(checkpoint) => Some(checkpoint.as_ref().clone()),
            From::Savepoint(path) => {
                let from = saved.insert(Saved::open(path)?).checkpoint.clone();
                Some(carry(plan, &shapes(plan, &splits)?, &splits, from, options.allow_dropped_state)?)
            }
        };
        check(plan, checkpoint.as_ref())?;
        let graph = Graph::new(plan, share.parallelism, |a, b| apart(plan, checkpoint.as_ref(), a, b))?;
        let instances: Vec<usize> = graph.stages.iter().map(|s| s.instances).collect();
        share.placement.check(&instances)?;
        if let Some(checkpoint) = &mut checkpoint {
            let wanted = |state: &NodeState| wanted(plan, &graph, share, state);
            match (&saved, &store) {
                (Some(saved), _) => saved.load(checkpoint, wanted)?,
                (None, Some(store)) => store.load_some(checkpoint, wanted)?,
                (None, None) => {}
            }
        }
        if !self.lease.holds(self.executor.now()) {
            return Err(unheard(self.lease.length()));
        }
        let sinks = self.sinks(&graph)?;
        let mut events = Vec::new();
        let opened = (|| -> Result<Publishers> {
            let publishers = match &store {
                Some(_) => {
                    let from = (checkpoint.as_ref(), savepoint);
                    Publishers::begin((share.generation, true), plan, &sinks, from, (&self.executor, options, &mut events))?
                }
                None => Publishers::default(),
            };
            launch::open(plan, &sinks, &self.executor, options, &mut events)?;
            Ok(publishers)
        })();
        // what was tried again is told also if it was in vain
        events.into_iter().for_each(|event| (self.up)(FromShare::Event(event)));
        let publishers = opened?;
        let state_disk = options.state_dir.as_ref().map(|dir| StateDisk::new(dir, options.state_memory)).transpose()?;
        if options.memory_budget.is_some() {
            *lock(&self.dir) = Some(SpillDir::new(options.spill_dir.clone().unwrap_or_else(std::env::temp_dir))?);
        }
        let dir = lock(&self.dir).clone();
        let progress = Progress::new(options, sum(&splits, |s| s.rows), sum(&splits, |s| s.bytes));
        let counts = graph.instances.clone();
        let ledger = Mutex::new(Ledger::new(options.memory_budget, dir, plan.nodes.len()));
        let mine = Some((&share.placement, share.number));
        let (checkpoint, epoch) = (checkpoint.as_ref(), share.epoch);
        let mut wired =
            Build { plan, graph, options, sinks: &sinks, splits, checkpoint, epoch, state_disk, ledger: &ledger, mine }.wire()?;
        if let Some(store) = &store {
            store.restored(std::mem::take(&mut wired.restored));
        }
        let (outgoing, incoming) = (std::mem::take(&mut wired.outgoing), std::mem::take(&mut wired.incoming));
        let away = Away {
            up: Arc::clone(&self.up),
            tasks: std::mem::take(&mut wired.global),
            carrier: Arc::clone(&self.carrier),
            links: (outgoing.clone(), incoming.clone()),
            store,
            sinks: publishers,
            all: sinks,
            lease: Arc::clone(&self.lease),
            meter: Meter::new(&wired.nodes),
            suspects: AtomicBool::new(false),
            started: AtomicBool::new(false),
            said: Mutex::default(),
        };
        let parts = Parts {
            executor: Arc::clone(&self.executor),
            options: options.clone(),
            control: Control::new(),
            progress,
            ledger: ledger.into_inner().unwrap_or_else(PoisonError::into_inner),
            head: Head::Away(Box::new(away)),
            epoch,
        };
        let job = assemble(plan, &counts, wired, parts);
        let host = Arc::new(ShareHost(Arc::downgrade(&job)));
        Ok((job, Links { outgoing, incoming, host }))
    }
    /// Opens the sinks that are here. They are this share's to abort from now on.
    fn sinks(&self, graph: &Graph) -> Result<HashMap<usize, SharedSink>> {
        let here = |stage: usize| self.share.placement.share_of(stage, 0) == Some(self.share.number);
        let is_sink = |node: &usize| self.plan.nodes.get(*node).is_some_and(|n| matches!(n.work, Work::Sink));
        let stages = graph.stages.iter().enumerate().filter(|(number, _)| here(*number));
        let nodes: Vec<usize> = stages.flat_map(|(_, stage)| stage.nodes.iter().copied().filter(is_sink)).collect();
        let opened: HashMap<usize, SharedSink> = (self.open)(&nodes)?.into_iter().map(|s| (s.node, Arc::new(Mutex::new(s.sink)))).collect();
        lock(&self.sinks).clone_from(&opened);
        Ok(opened)
    }
    /// The job that it has become, to be driven.
    pub(super) fn job(&self) -> Option<&Arc<Job>> {
        self.job.get()
    }
    /// Whether nothing runs any more.
    pub(crate) fn is_over(&self) -> bool {
        self.job.get().map_or_else(|| lock(&self.early).error.is_some(), |job| job.done.is_set())
    }
    /// Gives everything back, then tells the lead how it went: the last that is heard of it.
    ///
    /// # Errors
    /// That with which it ended.
    pub(crate) fn end(&self) -> Result<ShareReport> {
        let job = self.job.get();
        let error = match job {
            Some(job) if job.done.is_set() => lock(&job.error).take(),
            Some(_) => Some(Error::internal("the executor stopped before the job was over")),
            None => lock(&self.early).error.take().or_else(|| Some(Error::internal("the share has not begun"))),
        };
        let stopped = match job {
            Some(_) => self.carrier.stop(error.is_none()),
            None => Ok(()),
        };
        let result = error.map_or(stopped, Err);
        if result.is_err() {
            lock(&self.sinks).values().for_each(|s| _ = catch_unwind(AssertUnwindSafe(|| lock(s).abort())));
        }
        if let Some(job) = job {
            // what its steps did in all, however short it was
            (self.up)(FromShare::Metrics(job.metrics()));
            job.away().iter().for_each(|away| away.say_last(self.executor.now()));
        }
        let report = job.map(|job| report(job)).unwrap_or_default();
        // Tasks of a share that failed are still there, with what they hold.
        let tasks: Vec<_> = job.into_iter().flat_map(|job| job.slots()).filter_map(|slot| lock(&slot.task).take()).collect();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(tasks)));
        lock(&self.sinks).clear();
        lock(&self.dir).take().iter().for_each(SpillDir::remove);
        match result {
            Ok(()) => {
                (self.up)(FromShare::Over(report.clone()));
                Ok(report)
            }
            Err(error) => {
                (self.up)(FromShare::Failed(Fault::from(&error)));
                Err(error)
            }
        }
    }
}

/// Calls sources and sinks; a panic is an error.
fn caught<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let what = format!("panicked: {}", message(&*panic));
        Err(Error::Operator { operator: "(a source or sink)".into(), what, row: "no row".into() })
    })
}

fn report(job: &Job) -> ShareReport {
    job.progress.end();
    ShareReport {
        workers: job.workers.iter().map(|w| *lock(w)).collect(),
        spilled: job.ledger.spilled(),
        peak_channel_bytes: job.channels.iter().map(|c| c.peak()).max().unwrap_or(0) as u64,
    }
}

/// Whether a share needs the bytes of a state: if some instance that is here may be given it.
fn wanted(plan: &PhysicalPlan, graph: &Graph, share: &Share, state: &NodeState) -> bool {
    let Some(node) = plan.nodes.iter().position(|n| n.name == state.node) else { return true };
    let Some(stage) = graph.stage_of.get(node).copied() else { return true };
    let here = |instance| share.placement.share_of(stage, instance) == Some(share.number);
    let of = graph.instances.get(node).copied().unwrap_or(0);
    let root = graph.stages.get(stage).and_then(|s| s.nodes.first()).and_then(|n| plan.nodes.get(*n));
    // what is kept by split goes to whoever reads it on, and what a broadcast built to all
    let read = graph.read_by(plan, node).and_then(|source| plan.nodes.get(source)).is_some_and(|source| source.bounded);
    let passing = plan.nodes.get(node).is_some_and(|n| n.in_flight.is_some());
    let by_split = read || passing || root.is_some_and(|r| r.inputs.iter().any(|i| i.exchange == Exchange::Splits));
    let to_all = plan.nodes.get(node).is_some_and(PhysicalNode::copied);
    if state.state.group == SHARED || by_split || to_all {
        return (0..of).any(here);
    }
    if state.state.group == LAYERED {
        return (0..of).any(|instance| here(instance) && state.concerns(instance, of));
    }
    here(instance_of(state.state.group, KEY_GROUPS, of))
}

/// What the sources have.
pub(super) fn listed(plan: &PhysicalPlan, splits: &BTreeMap<usize, Vec<Split>>) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for (node, splits) in splits {
        let Some(node) = plan.nodes.get(*node) else { continue };
        // of what grows, shares may have seen more or less: they agree on who reads what by rule
        let grows = matches!(&node.work, Work::Source(s) if !s.bounded() && s.pace().list_again.is_some());
        let mut hash = 0u64;
        for split in splits.iter().filter(|_| !grows) {
            let text = serde_json::to_vec(split).map_err(|e| Error::internal(e.to_string()))?;
            hash = hash.wrapping_add(hash_bytes(&text));
        }
        let splits = if grows { 0 } else { splits.len() as u64 };
        listed.push(Listed { node: node.name.clone(), splits, hash });
    }
    Ok(listed)
}

/// Refuses a directory of checkpoints that is not the lead's.
fn find(dir: &std::path::Path, share: &Share, options: &RunOptions) -> Result<()> {
    let Some((name, text)) = &share.probe else { return Ok(()) };
    let found = place::open(dir, false, place::patience(options))?.read(name)?;
    if found.as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    Err(Error::Checkpoint(format!(
        "{} does not find in `{}` what the lead of the job wrote there: checkpoints must be kept where all agents reach them, in an object store or a directory that all of them mount at the same place",
        share.placement.name(share.number),
        dir.display()
    )))
}
