//! What a job goes by before it begins, whoever coordinates it; and the job itself, put together.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};

use super::build::Wired;
use super::coordinate::Coordinator;
use super::job::{Head, Job, Slot};
use super::ledger::Ledger;
use super::needs::Needs;
use super::progress::Progress;
use super::requests::Waiting;
use super::retry::patiently;
use super::task::Root;
use super::{Checkpoint, Control, Done, Executor, Inline, RunOptions, SourcePosition, StepShape};
use crate::operator::{Account, Exchange, Input, PhysicalNode, PhysicalPlan, Source, Split, Work};
use crate::{Error, Result};

/// The splits of all sources. One that cannot be asked now is asked again.
pub(super) fn ask(
    plan: &PhysicalPlan,
    executor: Option<&Arc<dyn Executor>>,
    options: &RunOptions,
    events: &mut Vec<String>,
) -> Result<BTreeMap<usize, Vec<Split>>> {
    let executor = executor.map_or_else(|| Arc::new(Inline::default()) as Arc<dyn Executor>, Arc::clone);
    list_by(plan, |source| {
        let mut splits = Vec::new();
        patiently(&executor, options, events, &source.describe(), || {
            splits = source.splits()?;
            Ok(())
        })?;
        Ok(splits)
    })
}

/// The same, asked once.
pub(super) fn list(plan: &PhysicalPlan) -> Result<BTreeMap<usize, Vec<Split>>> {
    list_by(plan, |source| source.splits())
}

fn list_by(plan: &PhysicalPlan, mut splits: impl FnMut(&dyn Source) -> Result<Vec<Split>>) -> Result<BTreeMap<usize, Vec<Split>>> {
    let source = |node: &PhysicalNode| if let Work::Source(source) = &node.work { Some(Arc::clone(source)) } else { None };
    let sources = plan.nodes.iter().enumerate().filter_map(|(n, node)| Some((n, source(node)?)));
    sources.map(|(n, source)| Ok((n, splits(source.as_ref())?))).collect()
}

/// Refuses a source that cannot be read again, for a job that may continue.
pub(super) fn replayable(plan: &PhysicalPlan) -> Result<()> {
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

/// Refuses a plan without clear names, and a checkpoint of another one.
pub(super) fn check(plan: &PhysicalPlan, checkpoint: Option<&Checkpoint>) -> Result<()> {
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
pub(super) fn small(plan: &PhysicalPlan, splits: &BTreeMap<usize, Vec<Split>>, options: &RunOptions) -> bool {
    let bounded = plan.nodes.iter().all(|n| !matches!(&n.work, Work::Source(s) if !s.bounded()));
    bounded && sum(splits, |s| s.rows).is_some_and(|rows| rows < options.bypass_rows)
}

pub(super) fn sum(splits: &BTreeMap<usize, Vec<Split>>, of: impl Fn(&Split) -> Option<u64>) -> Option<u64> {
    splits.values().flatten().map(of).sum()
}

/// Whether two nodes must not share a task, because the checkpoint says different things about them.
pub(super) fn apart(plan: &PhysicalPlan, checkpoint: Option<&Checkpoint>, producer: usize, consumer: usize) -> bool {
    let (Some(c), Some(producer), Some(consumer)) = (checkpoint, plan.nodes.get(producer), plan.nodes.get(consumer)) else { return false };
    c.marks.iter().any(|m| m.node == consumer.name) || c.finished.contains(&producer.name) != c.finished.contains(&consumer.name)
}

/// A coordinator of these tasks, which know their nodes; `epoch` is the last checkpoint, or claim, before the job begins.
pub(super) fn coordinator(
    plan: &PhysicalPlan,
    (instances, tasks): (&[usize], Vec<Vec<usize>>),
    checkpoint: Option<&Checkpoint>,
    steps: Vec<StepShape>,
    epoch: u64,
) -> Coordinator {
    let base = plan.nodes.iter().zip(instances).map(|(node, now)| account_of(plan, node, *now, checkpoint)).collect();
    let done = checkpoint.iter().flat_map(|c| &c.positions).map(|p| SourcePosition { open: Vec::new(), ..p.clone() }).collect();
    Coordinator::new(steps, tasks, epoch, base, done)
}

/// What a job is made of beside its tasks.
pub(super) struct Parts {
    pub(super) executor: Arc<dyn Executor>,
    pub(super) options: RunOptions,
    pub(super) control: Control,
    pub(super) progress: Progress,
    pub(super) ledger: Ledger,
    pub(super) head: Head,
    pub(super) epoch: u64,
}

/// The job. `instances` are those of each node, over all processes.
pub(super) fn assemble(plan: &PhysicalPlan, instances: &[usize], wired: Wired, parts: Parts) -> Arc<Job> {
    let Parts { executor, options, control, progress, mut ledger, head, epoch } = parts;
    let tasks = wired.tasks.len();
    ledger.tasks(tasks);
    let slot = |task: super::task::Task| {
        let source = matches!(task.root, Root::Feed(_));
        Slot::new(task, source)
    };
    let slots: Vec<Slot> = wired.tasks.into_iter().map(slot).collect();
    let away = matches!(head, Head::Away(_));
    let job = Job {
        options,
        control,
        names: plan.nodes.iter().map(|n| n.name.clone()).collect(),
        counts: instances.to_vec(),
        done: Done::default(),
        progress,
        slots: OnceLock::new(),
        channels: wired.channels,
        active: AtomicUsize::new(tasks),
        // of several, the lead ends each
        remaining: AtomicUsize::new(tasks + usize::from(away)),
        activations: AtomicU64::new(0),
        sleeping: AtomicUsize::new(0),
        outside: AtomicUsize::new(0),
        aborted: AtomicBool::new(false),
        error: Mutex::new(None),
        head,
        epoch: AtomicU64::new(epoch),
        answers: Waiting::default(),
        needs: Needs::new(plan, instances),
        ledger,
        drift: Arc::default(),
        workers: (0..executor.threads()).map(|_| Mutex::default()).collect(),
        events: Mutex::default(),
        executor,
    };
    if tasks == 0 && !away {
        job.done.set();
    }
    // Set once, here.
    let _ = job.slots.set(slots);
    Arc::new(job)
}

/// What a node did before the checkpoint. Rows that every instance holds a copy of, or held until it was over, count once per instance, so they
/// are counted anew for the instances of now.
fn account_of(plan: &PhysicalPlan, node: &PhysicalNode, now: usize, checkpoint: Option<&Checkpoint>) -> Account {
    let Some(checkpoint) = checkpoint else { return Account::default() };
    let of = |name: &str| checkpoint.accounts.iter().find(|a| a.0 == name).map_or_else(Account::default, |a| a.1);
    let mut account = of(&node.name);
    if node.inputs.iter().all(|i| i.exchange != Exchange::Broadcast) {
        return account;
    }
    if checkpoint.finished.contains(&node.name) {
        let copies = |i: &Input| if i.exchange == Exchange::Broadcast { now as u64 } else { 1 };
        let sent = |i: &Input| plan.nodes.get(i.from).map_or(0, |from| of(&from.name).rows_out) * copies(i);
        let rows: u64 = node.inputs.iter().map(sent).sum();
        // a step that says nothing has used all
        if account.used + account.filtered + account.late + account.failed > 0 {
            account.used = account.used.saturating_add_signed(rows as i64 - account.rows_in as i64);
        }
        account.rows_in = rows;
        return account;
    }
    if !node.copied() {
        return account;
    }
    let copies: HashSet<usize> = checkpoint.states.iter().filter(|s| s.node == node.name).map(|s| s.instance).collect();
    if !copies.is_empty() {
        let held = account.held / copies.len() as i64 * now as i64;
        account.rows_in = account.rows_in.saturating_add_signed(held - account.held);
        account.held = held;
    }
    account
}
