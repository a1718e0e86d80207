//! Running a plan from its start, or from a checkpoint, to its end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::build::{Build, Wired};
use super::carry::carry;
use super::coordinate::Coordinator;
use super::graph::Graph;
use super::job::{Job, Slot, message};
use super::ledger::{Ledger, instances};
use super::needs::Needs;
use super::progress::Progress;
use super::retry::patiently;
use super::settle::Settling;
use super::shape::{StepShape, shapes};
use super::sink::SharedSink;
use super::store::{Begin, Opened, Store};
use super::task::Root;
use super::util::{at, lock};
use super::{Checkpoint, Control, Done, Executor, Inline, NodeReport, Pool, Report, RunOptions, SourcePosition};
use crate::operator::{Account, BoundSink, Exchange, Input, PhysicalNode, PhysicalPlan, SpillDir, Split, StateDisk, Work};
use crate::{Error, Result};

/// Runs a plan to its end, on the calling thread if it is small, else on worker threads while the calling thread waits.
///
/// # Errors
/// The first error of any step, [`Error::Cancelled`], or that of a sink's commit; sinks have then been aborted.
pub fn run(plan: &PhysicalPlan, sinks: Vec<BoundSink>, options: &RunOptions, control: &Control) -> Result<Report> {
    launch(None, plan, sinks, options, control, None)
}

/// Continues a job from a checkpoint of the same plan, at any number of threads. Sinks start anew and receive the rows
/// they had at the checkpoint first.
///
/// # Errors
/// As for [`run`], and if the checkpoint does not belong to the plan.
pub fn resume(
    plan: &PhysicalPlan,
    sinks: Vec<BoundSink>,
    options: &RunOptions,
    control: &Control,
    checkpoint: &Checkpoint,
) -> Result<Report> {
    launch(None, plan, sinks, options, control, Some(checkpoint))
}

/// As [`run`], or [`resume`] with a checkpoint, on this executor. [`RunOptions::threads`] is the number of instances,
/// 0 for one per thread of the executor.
///
/// # Errors
/// As for [`run`] and [`resume`]; [`Error::Internal`] if the executor died, in which case sinks were told nothing.
pub fn run_on(
    executor: Arc<dyn Executor>,
    plan: &PhysicalPlan,
    sinks: Vec<BoundSink>,
    options: &RunOptions,
    control: &Control,
    checkpoint: Option<&Checkpoint>,
) -> Result<Report> {
    launch(Some(executor), plan, sinks, options, control, checkpoint)
}

fn launch(
    executor: Option<Arc<dyn Executor>>,
    plan: &PhysicalPlan,
    sinks: Vec<BoundSink>,
    options: &RunOptions,
    control: &Control,
    checkpoint: Option<&Checkpoint>,
) -> Result<Report> {
    let sinks: HashMap<usize, SharedSink> = sinks.into_iter().map(|s| (s.node, Arc::new(Mutex::new(s.sink)))).collect();
    let dir = match options.memory_budget {
        Some(_) => match SpillDir::new(options.spill_dir.clone().unwrap_or_else(std::env::temp_dir)) {
            Ok(dir) => Some(dir),
            Err(error) => {
                control.detach();
                return Err(error);
            }
        },
        None => None,
    };
    let opened = match Store::open(options) {
        Ok(Some(_)) if checkpoint.is_some() => Err(Error::usage(
            "a job continues from the checkpoints in its directory, or from the one given to it: give it one or the other",
        )),
        other => other,
    };
    let (owner, store, begin) = match opened {
        Ok(opened) => opened.map_or((None, None, Begin::Nothing), |Opened { owner, store, begin }| (owner, Some(store), begin)),
        Err(error) => {
            control.detach();
            return Err(error);
        }
    };
    // Steps panic inside tasks, which is caught there; sources, factories and sinks may also panic before or after.
    let result =
        catch_unwind(AssertUnwindSafe(|| attempt(executor, plan, &sinks, options, control, checkpoint, (store, begin), dir.clone())));
    let result = result.unwrap_or_else(|panic| {
        Err((
            Error::Operator {
                operator: "(a source or sink)".into(),
                what: format!("panicked: {}", message(&*panic)),
                row: "no row".into(),
            },
            true,
        ))
    });
    control.detach();
    drop(owner);
    dir.iter().for_each(SpillDir::remove);
    match result {
        Ok(report) => Ok(report),
        Err((error, abort)) => {
            if abort {
                sinks.values().for_each(|s| lock(s).abort());
            }
            Err(error)
        }
    }
}

/// The job but for its sinks' abort; an error says whether they shall.
#[allow(clippy::too_many_arguments)]
fn attempt(
    executor: Option<Arc<dyn Executor>>,
    plan: &PhysicalPlan,
    sinks: &HashMap<usize, SharedSink>,
    options: &RunOptions,
    control: &Control,
    given: Option<&Checkpoint>,
    (store, begin): (Option<Store>, Begin),
    dir: Option<SpillDir>,
) -> Result<Report, (Error, bool)> {
    let abort = |e: Error| (e, true);
    let state_disk = options.state_dir.as_ref().map(|dir| StateDisk::new(dir, options.state_memory)).transpose().map_err(abort)?;
    let mut events = Vec::new();
    let splits = ask(plan, executor.as_ref(), options, &mut events).map_err(abort)?;
    let steps = shapes(plan, &splits).map_err(abort)?;
    let savepoint = matches!(begin, Begin::Savepoint(_));
    let mut newest = match begin {
        Begin::Nothing => None,
        Begin::Newest(newest) => Some(newest),
        Begin::Savepoint(saved) => Some(carry(plan, &steps, &splits, saved, options.allow_dropped_state).map_err(abort)?),
    };
    let checkpoint = given.or(newest.as_ref());
    check(plan, checkpoint).map_err(abort)?;
    if options.cuts() {
        replayable(plan).map_err(abort)?;
    }
    let bypassed = small(plan, &splits, options);
    let executor = match executor {
        Some(executor) => executor,
        None if bypassed || options.threads == 1 => Arc::new(Inline::default()),
        None => Arc::new(Pool::new(options.threads).map_err(abort)?) as Arc<dyn Executor>,
    };
    let started = executor.now();
    store.iter().try_for_each(|store| store.same_input(&steps)).map_err(abort)?;
    let begin = |store| Settling::begin(store, plan, sinks, (checkpoint, savepoint), (&executor, options, &mut events));
    let settling = store.map(begin).transpose().map_err(abort)?;
    for (node, sink) in sinks {
        let PhysicalNode { schema, bounded, .. } = at(&plan.nodes, *node).map_err(abort)?;
        if !bounded && settling.is_none() && !options.cuts() {
            lock(sink).endless();
        }
        settle(&executor, options, &mut events, sink, |sink| sink.open(schema)).map_err(abort)?;
    }
    let threads = if bypassed {
        1
    } else {
        Some(options.threads).filter(|t| *t > 0).unwrap_or_else(|| instances(options.memory_budget, executor.threads()))
    };
    let (total_rows, total_bytes) = (sum(&splits, |s| s.rows), sum(&splits, |s| s.bytes));
    let graph = Graph::new(plan, threads, |a, b| apart(plan, checkpoint, a, b)).map_err(abort)?;
    let counts = graph.instances.clone();
    let ledger = Mutex::new(Ledger::new(options.memory_budget, dir, plan.nodes.len()));
    let first = settling.as_ref().map_or(0, |s| s.store.first);
    let epoch = checkpoint.map_or(0, |c| c.epoch).max(first.saturating_sub(1));
    let build = Build { plan, graph, options, sinks, splits, checkpoint, epoch, state_disk, ledger: &ledger };
    let mut wired = build.wire().map_err(abort)?;
    if let Some(settling) = &settling {
        settling.store.restored(std::mem::take(&mut wired.restored));
    }
    if let Some(newest) = &mut newest {
        // The operators have it now, and it may be large.
        newest.states.iter_mut().for_each(|s| s.state.bytes = Vec::new());
        newest.in_flight.clear();
    }
    let checkpoint = given.or(newest.as_ref());
    let progress = Progress::new(options, total_rows, total_bytes);
    let job = assemble(
        &executor,
        plan,
        &counts,
        wired,
        ledger.into_inner().unwrap_or_else(PoisonError::into_inner),
        progress,
        options,
        control,
        checkpoint,
        (settling, epoch),
        steps,
    );
    for asked in control.attach(&job) {
        job.want(asked);
    }
    if control.is_cancelled() {
        return Err(abort(Error::Cancelled));
    }
    job.start();
    job.arm();
    job.listen();
    if !executor.drive(&job.done) {
        return Err((Error::internal("the executor stopped before the job was over"), false));
    }
    if let Some(error) = lock(&job.error).take() {
        for asked in lock(&job.coordinator).give_up() {
            asked.refuse(Error::Checkpoint(format!("the job ended before it was complete: {error}")));
        }
        job.hang_up();
        return Err((error, true));
    }
    job.hang_up();
    let accounts = lock(&job.coordinator).accounts();
    let nodes = balance(plan, &counts, accounts, &job.ledger.spilled()).map_err(abort)?;
    if let Some(settling) = &job.settling
        && checkpoint.is_none_or(|c| c.finished.len() < c.nodes.len())
    {
        let last = lock(&job.coordinator).last().ok_or_else(|| abort(Error::internal("a step has not ended")))?;
        settling.last(&last, &executor, options, &mut events).map_err(abort)?;
    }
    let mut order: Vec<_> = sinks.iter().collect();
    order.sort_by_key(|(node, _)| **node);
    for (_, sink) in order {
        if job.settling.is_some() && lock(sink).two_phase().is_some() {
            continue;
        }
        settle(&executor, options, &mut events, sink, |sink| sink.commit()).map_err(abort)?;
    }
    job.progress.end();
    events.splice(0..0, std::mem::take(&mut *lock(&job.events)));
    events.extend(job.settling.iter().flat_map(|s| s.store.storage.told()));
    Ok(Report {
        nodes,
        workers: job.workers.iter().map(|w| *lock(w)).collect(),
        wall: executor.now().saturating_sub(started),
        bypassed,
        checkpoints: job.settling.as_ref().map(Settling::report).unwrap_or_default(),
        peak_channel_bytes: job.channels.iter().map(|c| c.peak()).max().unwrap_or(0),
        events,
    })
}

/// Opens or commits a sink; tries again after transient errors if the sink allows it.
fn settle(
    executor: &Arc<dyn Executor>,
    options: &RunOptions,
    events: &mut Vec<String>,
    sink: &SharedSink,
    call: impl Fn(&mut dyn crate::operator::Sink) -> Result<()>,
) -> Result<()> {
    let who = {
        let mut sink = lock(sink);
        if !sink.repeatable() {
            return call(sink.as_mut());
        }
        sink.describe()
    };
    patiently(executor, options, events, &who, || call(lock(sink).as_mut()))
}

/// The splits of all sources. One that cannot be asked now is asked again.
fn ask(
    plan: &PhysicalPlan,
    executor: Option<&Arc<dyn Executor>>,
    options: &RunOptions,
    events: &mut Vec<String>,
) -> Result<BTreeMap<usize, Vec<Split>>> {
    let executor = executor.map_or_else(|| Arc::new(Inline::default()) as Arc<dyn Executor>, Arc::clone);
    let mut splits = BTreeMap::new();
    for (n, node) in plan.nodes.iter().enumerate() {
        if let Work::Source(source) = &node.work {
            patiently(&executor, options, events, &source.describe(), || {
                splits.insert(n, source.splits()?);
                Ok(())
            })?;
        }
    }
    Ok(splits)
}

/// The same, asked once.
pub(super) fn list(plan: &PhysicalPlan) -> Result<BTreeMap<usize, Vec<Split>>> {
    let mut splits = BTreeMap::new();
    for (n, node) in plan.nodes.iter().enumerate() {
        if let Work::Source(source) = &node.work {
            splits.insert(n, source.splits()?);
        }
    }
    Ok(splits)
}

fn replayable(plan: &PhysicalPlan) -> Result<()> {
    for node in &plan.nodes {
        if let Work::Source(source) = &node.work
            && !source.replays()
        {
            return Err(Error::Usage(format!(
                "{} gives its rows once, so a job that continues from a checkpoint could not read them again: run without checkpoints, or read from files or a log",
                source.describe()
            )));
        }
    }
    Ok(())
}

fn check(plan: &PhysicalPlan, checkpoint: Option<&Checkpoint>) -> Result<()> {
    let mut names = HashSet::new();
    if let Some(twice) = plan.nodes.iter().find(|n| !names.insert(&n.name)) {
        return Err(Error::Plan(format!("two steps are called `{}`", twice.name)));
    }
    let Some(checkpoint) = checkpoint else { return Ok(()) };
    if !plan.nodes.iter().map(|n| &n.name).eq(&checkpoint.nodes) {
        return Err(Error::Checkpoint("it belongs to a job with other steps; restore it with the program that wrote it".into()));
    }
    Ok(())
}

/// Whether the job is not worth a second thread.
fn small(plan: &PhysicalPlan, splits: &BTreeMap<usize, Vec<Split>>, options: &RunOptions) -> bool {
    let bounded = plan.nodes.iter().all(|n| !matches!(&n.work, Work::Source(s) if !s.bounded()));
    bounded && sum(splits, |s| s.rows).is_some_and(|rows| rows < options.bypass_rows)
}

fn sum(splits: &BTreeMap<usize, Vec<Split>>, of: impl Fn(&Split) -> Option<u64>) -> Option<u64> {
    splits.values().flatten().map(of).sum()
}

/// Whether two nodes must not share a task, because the checkpoint says different things about them.
fn apart(plan: &PhysicalPlan, checkpoint: Option<&Checkpoint>, producer: usize, consumer: usize) -> bool {
    let (Some(c), Some(producer), Some(consumer)) = (checkpoint, plan.nodes.get(producer), plan.nodes.get(consumer)) else { return false };
    c.marks.iter().any(|m| m.node == consumer.name) || c.finished.contains(&producer.name) != c.finished.contains(&consumer.name)
}

#[allow(clippy::too_many_arguments)]
fn assemble(
    executor: &Arc<dyn Executor>,
    plan: &PhysicalPlan,
    instances: &[usize],
    wired: Wired,
    mut ledger: Ledger,
    progress: Progress,
    options: &RunOptions,
    control: &Control,
    checkpoint: Option<&Checkpoint>,
    (settling, epoch): (Option<Settling>, u64),
    steps: Vec<StepShape>,
) -> Arc<Job> {
    let names: Vec<String> = plan.nodes.iter().map(|n| n.name.clone()).collect();
    let base = plan.nodes.iter().zip(instances).map(|(node, now)| account_of(node, *now, checkpoint)).collect();
    let done = checkpoint.iter().flat_map(|c| &c.positions).map(|p| SourcePosition { open: Vec::new(), ..p.clone() }).collect();
    let tasks = wired.tasks.len();
    ledger.tasks(tasks);
    let slots: Vec<Slot> = wired
        .tasks
        .into_iter()
        .map(|t| {
            let source = matches!(t.root, Root::Feed(_));
            Slot::new(t, source)
        })
        .collect();
    let job = Job {
        executor: Arc::clone(executor),
        options: options.clone(),
        control: control.clone(),
        done: Done::default(),
        progress,
        slots: OnceLock::new(),
        channels: wired.channels,
        active: AtomicUsize::new(tasks),
        remaining: AtomicUsize::new(tasks),
        activations: AtomicU64::new(0),
        sleeping: AtomicUsize::new(0),
        outside: AtomicUsize::new(0),
        aborted: AtomicBool::new(false),
        error: Mutex::new(None),
        coordinator: Mutex::new(Coordinator::new(steps, wired.nodes, epoch, base, done)),
        epoch: AtomicU64::new(epoch),
        settling,
        answers: Mutex::default(),
        needs: Needs::new(plan, instances),
        ledger,
        drift: Arc::default(),
        workers: (0..executor.threads()).map(|_| Mutex::default()).collect(),
        events: Mutex::default(),
        counts: instances.to_vec(),
        names,
    };
    if tasks == 0 {
        job.done.set();
    }
    // Set once, here.
    let _ = job.slots.set(slots);
    Arc::new(job)
}

/// What a node did before the checkpoint. Rows that every instance holds a copy of count once per instance, so they are
/// counted anew for the instances of now.
fn account_of(node: &PhysicalNode, now: usize, checkpoint: Option<&Checkpoint>) -> Account {
    let Some(checkpoint) = checkpoint else { return Account::default() };
    let mut account = checkpoint.accounts.iter().find(|a| a.0 == node.name).map_or_else(Account::default, |a| a.1);
    if node.inputs.iter().any(|i| i.exchange == Exchange::Broadcast) {
        let copies: HashSet<usize> = checkpoint.states.iter().filter(|s| s.node == node.name).map(|s| s.instance).collect();
        if !copies.is_empty() {
            let held = account.held / copies.len() as i64 * now as i64;
            account.rows_in = account.rows_in.saturating_add_signed(held - account.held);
            account.held = held;
        }
    }
    account
}

/// The report of each node; in a debug build, a row that is not accounted for is an error.
fn balance(plan: &PhysicalPlan, instances: &[usize], accounts: Vec<Account>, spilled: &[u64]) -> Result<Vec<NodeReport>> {
    let mut nodes = Vec::new();
    for (((node, mut account), instances), spilled) in plan.nodes.iter().zip(accounts).zip(instances).zip(spilled) {
        if account.used + account.filtered + account.late + account.failed == 0 && account.held == 0 {
            account.used = account.rows_in;
        }
        if cfg!(debug_assertions) && !account.balanced() {
            return Err(Error::internal(format!("rows of `{}` are not accounted for: {account:?}", node.name)));
        }
        let copies = |i: &Input| if i.exchange == Exchange::Broadcast { *instances as u64 } else { 1 };
        let inputs = node.inputs.iter().map(|i| (i.from, copies(i))).collect();
        nodes.push(NodeReport { name: node.name.clone(), account, spilled: *spilled, inputs, side: node.side, bad: node.bad });
    }
    Ok(nodes)
}
