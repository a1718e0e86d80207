//! Running a plan from its start, or from a checkpoint, to its end.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use super::begin::{Parts, apart, ask, assemble, check, coordinator, replayable, small, sum};
use super::build::Build;
use super::carry::carry;
use super::graph::Graph;
use super::job::{Head, message};
use super::ledger::{Ledger, instances};
use super::progress::Progress;
use super::retry::patiently;
use super::settle::{Publishers, Settling};
use super::shape::shapes;
use super::sink::SharedSink;
use super::store::{Begin, Opened, Store};
use super::util::{at, lock};
use super::{Checkpoint, Control, Executor, Inline, NodeReport, Pool, Report, RunOptions};
use crate::operator::{Account, BoundSink, Exchange, Input, PhysicalNode, PhysicalPlan, SpillDir, StateDisk};
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
        Begin::Newest(mut newest) => {
            store.iter().try_for_each(|store| store.load(&mut newest)).map_err(abort)?;
            Some(newest)
        }
        Begin::Savepoint(saved) => {
            let mut carried = carry(plan, &steps, &splits, saved.checkpoint.clone(), options.allow_dropped_state).map_err(abort)?;
            saved.load(&mut carried, |_| true).map_err(abort)?;
            Some(carried)
        }
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
    let settling = match store {
        Some(store) => {
            let from = (checkpoint, savepoint);
            let taking =
                Publishers::begin((store.generation, false), plan, sinks, from, (&executor, options, &mut events)).map_err(abort)?;
            Some(Settling::new(store, taking, checkpoint.map(|c| c.epoch)))
        }
        None => None,
    };
    open(plan, sinks, &executor, options, &mut events).map_err(abort)?;
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
    let build = Build { plan, graph, options, sinks, splits, checkpoint, epoch, state_disk, ledger: &ledger, mine: None };
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
    let tasks = std::mem::take(&mut wired.nodes);
    let coordinator = coordinator(plan, (&counts, tasks), checkpoint, steps, epoch);
    let parts = Parts {
        executor: Arc::clone(&executor),
        options: options.clone(),
        control: control.clone(),
        progress,
        ledger: ledger.into_inner().unwrap_or_else(PoisonError::into_inner),
        head: Head::Here(Mutex::new(coordinator), settling),
        epoch,
    };
    let job = assemble(plan, &counts, wired, parts);
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
        for asked in job.coordinator().map(|mut c| c.give_up()).unwrap_or_default() {
            asked.refuse(Error::Checkpoint(format!("the job ended before it was complete: {error}")));
        }
        job.hang_up();
        return Err((error, true));
    }
    job.hang_up();
    let accounts = job.coordinator().map(|c| c.accounts()).unwrap_or_default();
    let nodes = balance(plan, &counts, accounts, &job.ledger.spilled()).map_err(abort)?;
    if let Some(settling) = job.settling()
        && checkpoint.is_none_or(|c| c.finished.len() < c.nodes.len())
    {
        let last = job.coordinator().and_then(|mut c| c.last()).ok_or_else(|| abort(Error::internal("a step has not ended")))?;
        settling.last(&last, &executor, options, &mut events).map_err(abort)?;
    }
    let mut order: Vec<_> = sinks.iter().collect();
    order.sort_by_key(|(node, _)| **node);
    for (_, sink) in order {
        if job.settling().is_some() && lock(sink).two_phase().is_some() {
            continue;
        }
        settle(&executor, options, &mut events, sink, |sink| sink.commit()).map_err(abort)?;
    }
    job.progress.end();
    events.splice(0..0, std::mem::take(&mut *lock(&job.events)));
    events.extend(job.settling().iter().flat_map(|s| s.store.storage.told()));
    Ok(Report {
        nodes,
        workers: job.workers.iter().map(|w| *lock(w)).collect(),
        wall: executor.now().saturating_sub(started),
        bypassed,
        checkpoints: job.settling().map(Settling::report).unwrap_or_default(),
        peak_channel_bytes: job.channels.iter().map(|c| c.peak()).max().unwrap_or(0),
        events,
    })
}

/// Opens the sinks.
pub(super) fn open(
    plan: &PhysicalPlan,
    sinks: &HashMap<usize, SharedSink>,
    executor: &Arc<dyn Executor>,
    options: &RunOptions,
    events: &mut Vec<String>,
) -> Result<()> {
    for (node, sink) in sinks {
        let PhysicalNode { schema, bounded, .. } = at(&plan.nodes, *node)?;
        if !bounded && !options.cuts() {
            lock(sink).endless();
        }
        settle(executor, options, events, sink, |sink| sink.open(schema))?;
    }
    Ok(())
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

/// The report of each node; in a debug build, a row that is not accounted for is an error.
pub(super) fn balance(plan: &PhysicalPlan, instances: &[usize], accounts: Vec<Account>, spilled: &[u64]) -> Result<Vec<NodeReport>> {
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
