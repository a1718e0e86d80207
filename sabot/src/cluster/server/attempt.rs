//! The steps of one attempt: assign, deploy, activate, monitor, fence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::core::{Core, blocking, now, pause, write};
use super::decide::recovery;
use super::run::{End, Failing, Run, Stage};
use super::view::operators;
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
/// How long a ticket lasts: longer than anything runs. It is for one attempt, which ends with its generation.
const TICKET: Duration = Duration::from_secs(365 * 24 * 3600);
/// How often rates and new checkpoints are noted.
const NOTED: Duration = Duration::from_secs(1);
/// Runs whose numbers are kept in memory, those of jobs that are over among them; the store has the last numbers of all.
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
    End::Failed { error: "the server was started again".into(), again: true, what: Failing::Server }
}

/// Gives the tasks slots.
pub(super) async fn assign(
    core: &Arc<Core>,
    flow: &str,
    id: &str,
    attempt: u32,
    parallelism: usize,
    shapes: &[StageShape],
    before: &[String],
) -> Result<Assign> {
    if !core.store.tasks(id, Some(attempt)).await?.is_empty() {
        // placed by a server that was killed, or by this one in a run of the workflow that was broken off
        return Ok(match core.hub.run(id, attempt) {
            Some(run) => Assign::Placed(run.assignments.clone()),
            None => Assign::Over(forgotten()),
        });
    }
    let demands: Vec<Demand> =
        shapes.iter().enumerate().map(|(stage, s)| Demand { stage, instances: s.instances, outer: s.source || s.sink }).collect();
    let (since, mut told) = (door::now(), String::new());
    loop {
        let row = core.row(id).await?;
        if row.state == JobState::Stopping {
            return Ok(Assign::Over(End::Cancelled));
        }
        let new = is_new(core, flow, attempt) && !core.expects_agents().await?;
        let placed = reserve(core, (id, attempt, parallelism), &demands, shapes, before);
        let refusal = match placed {
            Ok(run) => {
                let tasks = rows(&run);
                let placed = core.store.place_tasks(core.fence, id, attempt, &tasks, now()).await;
                if placed.is_err() {
                    core.hub.runs().remove(&(id.to_owned(), attempt));
                }
                match placed? {
                    Placed::Done => {
                        let agents: Vec<&str> = run.assignments.agents.iter().map(|(name, _)| name.as_str()).collect();
                        let reason = format!("attempt {attempt}, parallelism {parallelism}, on {}", agents.join(", "));
                        if !enter(core, id, JobState::Starting, &reason).await? {
                            run.over(End::Cancelled);
                        }
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
                    return Ok(Assign::Over(End::Failed { error: few.to_string(), again: false, what: Failing::Task }));
                }
                few.to_string()
            }
        };
        let patience = if new { SETTLING } else { PATIENCE };
        if door::now().saturating_sub(since) > patience {
            return Ok(Assign::Over(End::Failed { error: refusal, again: false, what: Failing::Task }));
        }
        waits(core, (flow, id, attempt), &mut told, format!("for slots: {refusal}")).await?;
    }
}

/// Whether the job was just submitted, to this server. What was submitted to one that was killed waits for the agents that it had.
fn is_new(core: &Core, flow: &str, attempt: u32) -> bool {
    attempt == 1 && !core.took_over(flow)
}
/// Waits a moment, and says for what: in the operation that brings the attempt up and, when it is news, in the log.
async fn waits(core: &Core, (flow, id, attempt): (&str, &str, u32), told: &mut String, what: String) -> Result<()> {
    // each write is synced to the disk
    if *told != what {
        for operation in [flow, &recovery(id, attempt)] {
            core.store.progress(core.fence, operation, &format!("waits {what}"), now()).await?;
        }
        core.hub.say(Level::Warning, Some(id), None, format!("job {id} waits {what}"));
        *told = what;
    }
    pause().await;
    Ok(())
}
/// Whether another process has the place of the job's checkpoints.
fn is_held(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::ResourceBusy)
}

/// Changes a job's state, unless it was asked to stop; whether it has.
pub(super) async fn enter(core: &Core, id: &str, state: JobState, reason: &str) -> Result<bool> {
    match core.store.change_job(core.fence, id, state, reason, now()).await {
        Ok(_) => Ok(true),
        // looked at after, so that nothing comes between
        Err(_) if core.row(id).await?.state == JobState::Stopping => Ok(false),
        Err(error) => Err(error),
    }
}

/// Finds slots and takes them, at once.
fn reserve(
    core: &Core,
    (id, attempt, parallelism): (&str, u32, usize),
    demands: &[Demand],
    shapes: &[StageShape],
    before: &[String],
) -> Result<Arc<Run>, TooFew> {
    let mut runs = core.hub.runs();
    let assignments = place(demands, &core.hub.offers(&runs), before)?;
    let run = Run::new(id, attempt, parallelism, assignments, shapes.to_vec());
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
pub(super) async fn deploy(core: &Arc<Core>, flow: &str, id: &str, attempt: u32, parallelism: usize) -> Result<Going> {
    let Some(run) = core.hub.run(id, attempt) else { return Ok(Going::Over(forgotten())) };
    if let Stage::Over(end) = run.stage() {
        return Ok(Going::Over(end));
    }
    let row = core.row(id).await?;
    let (spec, options) = core.job_of(&row)?;
    let text = serde_json::to_string(&spec).map_err(|e| Error::internal(format!("a job's specification cannot be written: {e}")))?;
    // a run of the workflow that was broken off does that, or did
    if !run.open() {
        return Ok(Going::On);
    }
    let opening = Opening(Arc::clone(&run));
    let (since, mut told) = (door::now(), String::new());
    let lead = loop {
        let (spec, with) = (spec.clone(), options.clone());
        let opened = blocking(move || Job::from_spec(&spec)?.options(move |o| *o = with).lead(parallelism, door::executor()));
        match opened.await {
            // a server that stands still keeps the lock of the job's directory until it ends, or goes on and finds that it leads no more
            Err(e) if is_held(&e) && !is_new(core, flow, attempt) && door::now().saturating_sub(since) < PATIENCE => {
                waits(core, (flow, id, attempt), &mut told, format!("for the place of its checkpoints: {e}")).await?;
                if core.row(id).await?.state == JobState::Stopping {
                    run.over(End::Cancelled);
                    return Ok(Going::Over(End::Cancelled));
                }
            }
            opened => break opened,
        }
    };
    let (placing, sending) = (Arc::clone(core), Arc::clone(&run));
    let job = id.to_owned();
    let first = is_new(core, flow, attempt);
    let open = move || {
        let (core, run, lead) = (&placing, &sending, lead?);
        if lead.stages() != run.shapes {
            return Err(Error::Plan(format!("the stages of job {job} are not those that were placed")));
        }
        let epochs = run.assignments.agents.iter().map(|(_, epoch)| *epoch).collect();
        let shares = lead.begin(placement(&run.assignments, &run.shapes), core.hub.outward(&job, attempt, epochs))?;
        let ticket = core.face.key.sign(&Grant::new(&job, lead.generation(), Purpose::Exchange, TICKET))?;
        let (hub, led, agents) = (Arc::downgrade(&core.hub), job.clone(), run.assignments.agents.clone());
        lead.on_event(move |share, event| {
            let agent = share.and_then(|n| agents.get(n)).map(|(name, _)| name.as_str());
            hub.upgrade().iter().for_each(|hub| hub.say(Level::Warning, Some(&led), agent, format!("job {led}: {event}")));
        });
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
            // before it can be returned
            run.give(number);
            if let Err(error) = core.hub.tell(epoch, &ToAgent::Deploy(Box::new(deployment))) {
                run.not_given(number);
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
    };
    // all of it there, since whoever waits for it may be gone
    let ended = blocking(move || {
        let (Err(error), run) = (open(), &opening.0) else { return Ok(None) };
        let end = match run.stage() {
            Stage::Over(end) => end,
            Stage::Deploying | Stage::Running => {
                let again = error.is_transient() && !(first && is_held(&error));
                End::Failed { error: error.to_string(), again, what: Failing::Task }
            }
        };
        match run.lead() {
            Some(lead) => lead.cancel(error),
            None => run.over(end.clone()),
        }
        Ok(Some(end))
    });
    Ok(ended.await?.map_or(Going::On, Going::Over))
}

/// A run that gets a lead, or not, while this is there.
struct Opening(Arc<Run>);
impl Drop for Opening {
    fn drop(&mut self) {
        self.0.opened();
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

/// Waits until all shares are ready, which the lead then starts: for as long as they are heard. To restore much state takes its time.
pub(super) async fn activate(core: &Arc<Core>, operation: &str, id: &str, attempt: u32) -> Result<Going> {
    let Some(run) = core.hub.run(id, attempt) else { return Ok(Going::Over(forgotten())) };
    match run.until(|s| *s != Stage::Deploying).await {
        Stage::Over(end) if end != End::Finished => return Ok(Going::Over(end)),
        _ => {}
    }
    if !enter(core, id, JobState::Running, &format!("attempt {attempt} runs")).await? {
        run.lead().into_iter().for_each(|lead| lead.cancel(Error::Cancelled));
        return Ok(Going::On);
    }
    tasks(core, &run, TaskState::Running, None).await?;
    let outcome = serde_json::json!({ "job": id, "attempt": attempt });
    // the job runs: that is what its submission was for, and what brought this attempt up
    for brought_up in [operation, &recovery(id, attempt)] {
        if core.store.operation(brought_up).await?.is_some() {
            core.store.end_operation(core.fence, brought_up, Some(Ok(&outcome)), now()).await?;
        }
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
            let wait = (LEASE + core.face.handover).saturating_sub(core.hub.now());
            door::sleep(wait).await;
        }
        Some(run) => {
            // a lead says that it is over when no share of it can write any more
            let end = run.until(|s| matches!(s, Stage::Over(_))).await;
            // one that was over before it had a lead
            while run.is_led() {
                pause().await;
            }
            note(core, &run).await?;
            // an attempt that never had a lead has nothing to show
            let steps = operators(&run);
            if !steps.is_empty() {
                let (stages, steps) = (write(&run.shapes, "a job's stages")?, write(&steps, "a job's steps")?);
                core.store.keep_steps(core.fence, id, &stages, &steps).await?;
            }
            returned(core, &run).await;
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
    forget(&mut runs);
    Ok(())
}

/// Forgets the runs that have ended first, if there are many.
fn forget(runs: &mut BTreeMap<(String, u32), Arc<Run>>) {
    while runs.len() > REMEMBERED {
        let ended = runs.iter().filter_map(|(key, run)| Some((run.released()?, key)));
        let Some(oldest) = ended.min().map(|(_, key)| key.clone()) else { break };
        runs.remove(&oldest);
    }
}

/// Waits until all agents that are members have returned their shares: user code may be in a call that takes long, and until it comes back it has threads,
/// memory and files there.
async fn returned(core: &Core, run: &Run) {
    let since = door::now();
    let mut said = false;
    loop {
        let holders = run.holders(|epoch| core.hub.members().get(epoch).is_some_and(|m| m.standing.holds()));
        let Some(first) = holders.first() else { return };
        if !said && door::now().saturating_sub(since) > SETTLING {
            said = true;
            let (job, attempt) = (&run.job, run.attempt);
            let what = format!(
                "job {job}: attempt {attempt} has ended, but agent `{first}` is still in a call of user code; its slots are free when that returns"
            );
            core.hub.say(Level::Warning, Some(job), Some(first), what);
        }
        pause().await;
    }
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

/// Notes the checkpoints and savepoints that a run has taken since the last look.
async fn note(core: &Core, run: &Run) -> Result<()> {
    let (fresh, savepoints) = (run.fresh_checkpoints(), run.fresh_savepoints());
    for (made, took) in &savepoints {
        let savepoint = Checkpoint {
            number: made.epoch,
            kind: CheckpointKind::Savepoint,
            name: Some(made.name.clone()),
            attempt: run.attempt,
            location: made.path.display().to_string(),
            bytes: made.bytes,
            took: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            at: now(),
        };
        core.store.add_checkpoint(core.fence, &run.job, &savepoint).await?;
    }
    run.noted_savepoints(savepoints.len());
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn run(job: &str, agents: &[(&str, u64)]) -> Arc<Run> {
        let agents = agents.iter().map(|(name, epoch)| ((*name).to_owned(), *epoch)).collect();
        Run::new(job, 1, 1, Assignments { agents, ..Assignments::default() }, Vec::new())
    }

    #[test]
    fn runs_are_forgotten_by_age() {
        let mut runs = BTreeMap::new();
        // they end against the alphabet, but for one that goes on
        for n in (0..REMEMBERED + 4).rev() {
            let run = run(&format!("job-{n:03}"), &[]);
            if n != REMEMBERED + 3 {
                run.release();
            }
            runs.insert((run.job.clone(), 1), run);
        }
        forget(&mut runs);
        assert_eq!(runs.len(), REMEMBERED);
        let there = |n: usize| runs.contains_key(&(format!("job-{n:03}"), 1));
        assert!(there(0) && there(REMEMBERED + 3) && !there(REMEMBERED + 2) && !there(REMEMBERED - 1) && there(REMEMBERED - 2));
    }

    #[test]
    fn agents_hold_slots_until_they_have_returned_their_shares_or_are_lost() {
        let run = run("job", &[("a", 1), ("b", 2), ("c", 3)]);
        assert!(run.holders(|_| true).is_empty(), "nobody was given one");
        (0..3).for_each(|share| run.give(share));
        run.not_given(2);
        assert_eq!(run.holders(|_| true), ["a", "b"]);
        assert_eq!(run.holders(|epoch| epoch != 1), ["b"], "leases decide over an agent that is lost");
        run.over(End::Cancelled);
        run.share_ended(1);
        assert_eq!(run.holders(|_| true), ["a"]);
        run.share_ended(0);
        assert!(run.holders(|_| true).is_empty());
    }
}
