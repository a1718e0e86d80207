//! The steps of one attempt: assign, deploy, activate, monitor, fence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::core::{Core, blocking, now, pause};
use super::flows::recovery;
use super::run::{End, Run, Stage};
use crate::cluster::LEASE;
use crate::cluster::door;
use crate::cluster::placement::{Assignments, Demand, TooFew, place};
use crate::cluster::store::{Assignment, Checkpoint, CheckpointKind, JobState, Level, Placed, TaskId, TaskState};
use crate::cluster::wire::{Deployment, ShareId, ToAgent};
use crate::runtime::share::{Placement, StageShape};
use crate::shuffle::flight::{Grant, Purpose};
use crate::stream::Job;
use crate::{Error, Result};

/// How long a job that lost its slots waits for others.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a first placement is tried again that agents' changes have overtaken.
const SETTLING: Duration = Duration::from_secs(5);
/// How long shares may take until they are ready.
const READINESS: Duration = Duration::from_secs(60);
/// How long a ticket lasts: longer than anything runs. It is for one attempt, which ends with its generation.
const TICKET: Duration = Duration::from_secs(365 * 24 * 3600);
/// How often rates and new checkpoints are noted.
const NOTED: Duration = Duration::from_secs(1);
/// Runs of jobs that are over, whose last numbers are kept to be shown.
const REMEMBERED: usize = 50;

/// What became of a placement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Assign {
    /// All tasks have slots.
    Placed(Assignments),
    /// The attempt has ended before it began.
    Over(End),
}

/// Whether an attempt goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Going {
    /// It does.
    On,
    /// It has ended.
    Over(End),
}

/// A server that was killed does not know what became of the attempt; nobody leads it any more.
pub(super) fn forgotten() -> End {
    End::Failed { error: "the server was started again".into(), again: true }
}

/// Gives the tasks slots.
pub(super) async fn assign(
    core: &Arc<Core>,
    id: &str,
    attempt: u32,
    parallelism: usize,
    shapes: &[StageShape],
    before: &[String],
) -> Result<Assign> {
    if !core.store.tasks(id, Some(attempt)).await?.is_empty() {
        return Ok(Assign::Over(forgotten()));
    }
    let demands: Vec<Demand> =
        shapes.iter().enumerate().map(|(stage, s)| Demand { stage, instances: s.instances, outer: s.source || s.sink }).collect();
    let (since, mut told) = (door::now(), None);
    loop {
        let row = core.row(id).await?;
        if row.state == JobState::Stopping {
            return Ok(Assign::Over(End::Cancelled));
        }
        // one that is older than this server was submitted to one that was killed: agents that were there may not have joined yet
        let new = attempt == 1 && row.created >= core.since;
        let placed = reserve(core, id, attempt, &demands, shapes, before);
        let refusal = match placed {
            Ok(run) => {
                let tasks = rows(&run);
                match core.store.place_tasks(core.fence, id, attempt, &tasks, now()).await? {
                    Placed::Done => {
                        let agents: Vec<&str> = run.assignments.agents.iter().map(|(name, _)| name.as_str()).collect();
                        let reason = format!("attempt {attempt}, parallelism {parallelism}, on {}", agents.join(", "));
                        core.store.change_job(core.fence, id, JobState::Starting, &reason, now()).await?;
                        return Ok(Assign::Placed(run.assignments.clone()));
                    }
                    Placed::Refused(why) => {
                        core.hub.runs().remove(&(id.to_owned(), attempt));
                        why
                    }
                }
            }
            Err(few) => {
                if new {
                    return Ok(Assign::Over(End::Failed { error: few.to_string(), again: false }));
                }
                few.to_string()
            }
        };
        let patience = if new { SETTLING } else { PATIENCE };
        if door::now().saturating_sub(since) > patience {
            return Ok(Assign::Over(End::Failed { error: refusal, again: false }));
        }
        if told.as_ref() != Some(&refusal) {
            core.store.progress(core.fence, &super::flow_of(id), &format!("waits for slots: {refusal}"), now()).await?;
            told = Some(refusal);
        }
        pause().await;
    }
}

/// Finds slots and takes them, at once.
fn reserve(core: &Core, id: &str, attempt: u32, demands: &[Demand], shapes: &[StageShape], before: &[String]) -> Result<Arc<Run>, TooFew> {
    let mut runs = core.hub.runs();
    let assignments = place(demands, &core.hub.offers(&runs), before)?;
    let run = Run::new(id, attempt, assignments, shapes.to_vec());
    // numbers of the agents' slots that no other run has
    let mut taken: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
    for other in runs.values().filter(|r| r.holds_slots()) {
        for (slot, number) in other.assignments.slots.iter().zip(other.slot_numbers()) {
            if let Some((_, epoch)) = other.assignments.agents.get(*slot) {
                taken.entry(*epoch).or_default().insert(number);
            }
        }
    }
    let numbers: Vec<u32> = run
        .assignments
        .slots
        .iter()
        .filter_map(|agent| run.assignments.agents.get(*agent))
        .map(|(_, epoch)| {
            let taken = taken.entry(*epoch).or_default();
            let number = (0..).find(|n| !taken.contains(n)).unwrap_or(0);
            taken.insert(number);
            number
        })
        .collect();
    run.number_slots(numbers);
    runs.insert((id.to_owned(), attempt), Arc::clone(&run));
    Ok(run)
}

/// The placement as the store has it.
fn rows(run: &Run) -> Vec<Assignment> {
    let numbers = run.slot_numbers();
    run.assignments
        .tasks
        .iter()
        .map(|t| Assignment {
            task: t.task(),
            agent: t.agent.clone(),
            epoch: t.epoch,
            slot: numbers.get(t.slot).copied().unwrap_or(0),
            reason: t.reason.clone(),
        })
        .collect()
}

/// Opens the lead, and sends the shares to their agents.
pub(super) async fn deploy(core: &Arc<Core>, id: &str, attempt: u32, parallelism: usize) -> Result<Going> {
    let Some(run) = core.hub.run(id, attempt) else { return Ok(Going::Over(forgotten())) };
    if let Stage::Over(end) = run.stage() {
        return Ok(Going::Over(end));
    }
    let row = core.row(id).await?;
    let (spec, options) = core.job_of(&row)?;
    let text = serde_json::to_string(&spec).map_err(|e| Error::internal(format!("a job's specification cannot be written: {e}")))?;
    let (placing, sending) = (Arc::clone(core), Arc::clone(&run));
    let job = id.to_owned();
    let opened = blocking(move || {
        let (core, run) = (placing, sending);
        let with = options.clone();
        let made = Job::from_spec(&spec)?.options(move |o| *o = with);
        let lead = made.lead(parallelism, door::executor())?;
        if lead.stages() != run.shapes {
            return Err(Error::Plan(format!("the stages of job {job} are not those that were placed")));
        }
        let epochs = run.assignments.agents.iter().map(|(_, epoch)| *epoch).collect();
        let shares = lead.begin(placement(&run.assignments, &run.shapes), core.hub.outward(&job, attempt, epochs))?;
        let ticket = core.key.sign(&Grant::new(&job, lead.generation(), Purpose::Exchange, TICKET))?;
        run.led_by(&lead)?;
        let peers: Vec<(String, String)> = {
            let members = core.hub.members();
            let address = |epoch: u64| members.get(epoch).map(|m| m.registration.address.clone()).unwrap_or_default();
            run.assignments.agents.iter().map(|(name, epoch)| (name.clone(), address(*epoch))).collect()
        };
        for share in shares {
            let number = share.number;
            let Some((name, epoch)) = run.assignments.agents.get(number).cloned() else { continue };
            let deployment = Deployment {
                id: ShareId { job: job.clone(), attempt, share: number },
                spec: text.clone(),
                options: options.clone(),
                share,
                slots: run.assignments.slots_on(epoch),
                peers: peers.clone(),
                ticket: ticket.clone(),
            };
            if let Err(error) = core.hub.tell(epoch, &ToAgent::Deploy(Box::new(deployment))) {
                lead.lost(
                    number,
                    Error::io(
                        format!("agent `{name}`"),
                        "was lost before it was given its share",
                        std::io::Error::other(error.to_string()),
                    ),
                );
            }
        }
        // whoever went between the placement and this was not told of the run
        let gone: Vec<u64> = {
            let members = core.hub.members();
            let there = |epoch: &u64| members.get(*epoch).is_some_and(|m| m.standing.holds() && m.connected);
            run.assignments.agents.iter().map(|(_, e)| *e).filter(|e| !there(e)).collect()
        };
        for epoch in gone {
            run.lose(epoch, "its agent was lost while the job was deployed");
        }
        Ok(())
    })
    .await;
    match opened {
        Ok(()) => Ok(Going::On),
        Err(error) => {
            let again = error.is_transient();
            let end = End::Failed { error: error.to_string(), again };
            if let Some(lead) = run.lead() {
                lead.cancel(error);
            } else {
                run.over(end.clone());
            }
            Ok(Going::Over(end))
        }
    }
}

/// The assignments as shares know them.
fn placement(assignments: &Assignments, shapes: &[StageShape]) -> Placement {
    let of = |(stage, shape): (usize, &StageShape)| -> Vec<usize> {
        (0..shape.instances).map(|instance| assignments.share_of(stage, instance).unwrap_or(0)).collect()
    };
    Placement {
        shares: assignments.agents.len(),
        stages: shapes.iter().enumerate().map(of).collect(),
        names: assignments.agents.iter().map(|(name, _)| format!("agent `{name}`")).collect(),
    }
}

/// Waits until all shares are ready, which the lead then starts.
pub(super) async fn activate(core: &Arc<Core>, operation: &str, id: &str, attempt: u32) -> Result<Going> {
    let Some(run) = core.hub.run(id, attempt) else { return Ok(Going::Over(forgotten())) };
    let stage = door::timeout(READINESS, run.until(|s| *s != Stage::Deploying)).await;
    match stage {
        Some(Stage::Over(end)) if end != End::Finished => return Ok(Going::Over(end)),
        Some(_) => {}
        None => {
            let late = format!("not all agents were ready within {} s", READINESS.as_secs());
            if let Some(lead) = run.lead() {
                lead.cancel(Error::io("the agents", late, std::io::ErrorKind::TimedOut.into()));
            }
            return Ok(Going::On);
        }
    }
    let row = core.row(id).await?;
    if row.state != JobState::Stopping {
        core.store.change_job(core.fence, id, JobState::Running, &format!("attempt {attempt} runs"), now()).await?;
    }
    tasks(core, &run, TaskState::Running, None).await?;
    let outcome = serde_json::json!({ "job": id, "attempt": attempt });
    // the job runs: what was asked for is done, also if a first attempt came to nothing
    core.store.end_operation(core.fence, operation, Some(Ok(&outcome)), now()).await?;
    let brought_up = recovery(id, attempt);
    if core.store.operation(&brought_up).await?.is_some() {
        core.store.end_operation(core.fence, &brought_up, Some(Ok(&outcome)), now()).await?;
    }
    core.hub.say(Level::Info, Some(id), None, format!("job {id} runs (attempt {attempt})"));
    Ok(Going::On)
}

/// Notes where all tasks are.
async fn tasks(core: &Core, run: &Run, state: TaskState, error: Option<&str>) -> Result<()> {
    let all: Vec<(TaskId, TaskState, Option<String>)> =
        run.assignments.tasks.iter().map(|t| (t.task(), state, error.map(str::to_owned))).collect();
    core.store.change_tasks(core.fence, &run.job, run.attempt, &all).await
}

/// Waits until it is over.
pub(super) async fn monitor(core: &Arc<Core>, id: &str, attempt: u32) -> Result<Going> {
    let Some(run) = core.hub.run(id, attempt) else { return Ok(Going::Over(forgotten())) };
    match run.until(|s| matches!(s, Stage::Over(_))).await {
        Stage::Over(end) => Ok(Going::Over(end)),
        Stage::Deploying | Stage::Running => Err(Error::internal("a job is over that runs")),
    }
}

/// Waits until nothing of the attempt can write any more, and gives its slots back.
pub(super) async fn fence(core: &Arc<Core>, id: &str, attempt: u32) -> Result<()> {
    match core.hub.run(id, attempt) {
        // another server led it: its agents have stopped when their leases are over, counted from when this one began
        None => {
            let wait = LEASE.saturating_sub(core.hub.now());
            door::sleep(wait).await;
        }
        Some(run) => {
            // a lead says that it is over when no share of it can write any more
            let end = run.until(|s| matches!(s, Stage::Over(_))).await;
            note(core, &run).await?;
            run.release();
            match end {
                Stage::Over(End::Finished) => tasks(core, &run, TaskState::Finished, None).await?,
                Stage::Over(End::Failed { error, .. }) => {
                    let failed = run.failed_tasks();
                    let states: Vec<(TaskId, TaskState, Option<String>)> =
                        failed.into_iter().map(|t| (t, TaskState::Failed, Some(error.clone()))).collect();
                    core.store.change_tasks(core.fence, id, attempt, &states).await?;
                }
                _ => {}
            }
        }
    }
    core.store.release(core.fence, id, attempt).await?;
    // the numbers of the last run stay to be shown
    let mut runs = core.hub.runs();
    runs.retain(|(job, a), _| job != id || *a >= attempt);
    while runs.len() > REMEMBERED {
        let Some(oldest) = runs.iter().find(|(_, r)| !r.holds_slots()).map(|(k, _)| k.clone()) else { break };
        runs.remove(&oldest);
    }
    Ok(())
}

/// Notes rates and new checkpoints of the jobs that run, each second.
pub(super) async fn watch(core: Arc<Core>) {
    let mut ticks = door::Ticks::every(NOTED);
    loop {
        ticks.tick().await;
        let running: Vec<Arc<Run>> = core.hub.runs().values().filter(|r| r.stage() == Stage::Running).cloned().collect();
        for run in running {
            run.sample();
            // what the store does not take now it takes with the next look
            let _ = note(&core, &run).await;
        }
    }
}

/// Notes the checkpoints that a run has taken since the last look.
async fn note(core: &Core, run: &Run) -> Result<()> {
    let fresh = run.fresh_checkpoints();
    if fresh.is_empty() {
        return Ok(());
    }
    let row = core.row(&run.job).await?;
    let (_, options) = core.job_of(&row)?;
    let Some(dir) = options.checkpoint_dir else { return Ok(()) };
    let known = core.store.checkpoints(&run.job).await?;
    for taken in &fresh {
        let checkpoint = Checkpoint {
            number: taken.epoch,
            kind: CheckpointKind::Checkpoint,
            name: None,
            attempt: run.attempt,
            location: dir.display().to_string(),
            bytes: taken.written,
            took: u64::try_from(taken.time.as_millis()).unwrap_or(u64::MAX),
            at: now(),
        };
        core.store.add_checkpoint(core.fence, &run.job, &checkpoint).await?;
    }
    // those that the job itself keeps: the others are gone
    let mut numbers: Vec<u64> = known.iter().filter(|c| c.kind == CheckpointKind::Checkpoint).map(|c| c.number).collect();
    numbers.extend(fresh.iter().map(|c| c.epoch));
    numbers.sort_unstable();
    numbers.dedup();
    for old in numbers.iter().rev().skip(options.checkpoint_keep.max(1)) {
        core.store.remove_checkpoint(core.fence, &run.job, *old).await?;
    }
    if let Some(last) = fresh.last() {
        run.noted(last.epoch);
    }
    Ok(())
}
