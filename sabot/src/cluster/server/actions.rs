//! What is asked of a job that runs: cancel, savepoint, rescale. They tell the job, and wait for what its own workflow makes of it.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::core::{Core, blocking, now, patiently, pause, read, write};
use super::decide::move_to;
use super::drain::Off;
use super::flows::{Asked, begin, ended, step};
use super::run::Run;
use super::upgrade::cancel_other;
use crate::cluster::door;
use crate::cluster::durable::Flow;
use crate::cluster::store::{Job as Row, JobState, OperationKind};
use crate::runtime::{RunOptions, Savepoint, newest_checkpoint, savepoint_named, savepoint_names};
use crate::{Error, Result};

/// Writes down what was asked, unless that is done: a server may be killed between the two.
pub(super) async fn begin_asked(core: &Arc<Core>, flow: &Flow, kind: OperationKind, asked: &Asked) -> Result<()> {
    let input = write(asked, "an operation")?;
    patiently(|| begin(core, flow.id(), kind, Some(&asked.job), &input)).await.map(drop)
}

/// Ends a job for good.
pub(super) async fn cancel(core: Arc<Core>, flow: Flow, asked: Asked) -> Result<Value> {
    begin_asked(&core, &flow, OperationKind::Cancel, &asked).await?;
    let outcome = cancelled(&core, &flow, &asked.job).await;
    ended(&core, &flow, outcome).await
}
async fn cancelled(core: &Arc<Core>, flow: &Flow, id: &str) -> Result<Value> {
    step(core, flow, "mark", || async {
        let row = core.row(id).await?;
        if !row.state.is_over() && row.state != JobState::Stopping {
            core.store.change_job(core.fence, id, JobState::Stopping, "it was asked to be cancelled", now()).await?;
        }
        Ok(())
    })
    .await?;
    let state: JobState = step(core, flow, "stop", || async {
        loop {
            let row = core.row(id).await?;
            if row.state.is_over() {
                return Ok(row.state);
            }
            if row.build != core.build.id {
                cancel_other(core, id).await?;
                continue;
            }
            if let Some(run) = core.hub.run(id, row.attempt)
                && let Some(lead) = run.lead()
            {
                lead.cancel(Error::Cancelled);
            }
            pause().await;
        }
    })
    .await?;
    Ok(json!({ "state": state }))
}

/// Makes a savepoint of a job.
pub(super) async fn savepoint(core: Arc<Core>, flow: Flow, asked: Asked) -> Result<Value> {
    let kind = if asked.stop { OperationKind::Suspend } else { OperationKind::Savepoint };
    begin_asked(&core, &flow, kind, &asked).await?;
    let outcome = saved(&core, &flow, &asked).await;
    ended(&core, &flow, outcome).await
}
async fn saved(core: &Arc<Core>, flow: &Flow, asked: &Asked) -> Result<Value> {
    let dir = step(core, flow, "validate", || async { checkpoints_of(core, &asked.job).await }).await?;
    let made: Savepoint = step(core, flow, "save", || save(core, asked, &dir)).await?;
    if asked.stop {
        step(core, flow, "stop", || until_stopped(core, &asked.job, &dir, &made)).await?;
    }
    write(&made, "a savepoint")
}

/// Makes the savepoint that was asked for, unless that is done.
pub(super) async fn save(core: &Arc<Core>, asked: &Asked, dir: &Path) -> Result<Savepoint> {
    loop {
        // made before the server was killed, or by an attempt that has ended since
        let (at, name) = (dir.to_owned(), asked.name.clone());
        let known = blocking(move || match savepoint_names(&at)?.contains(&name) {
            true => savepoint_named(&at, &name).map(Some),
            false => Ok(None),
        });
        if let Some(found) = known.await? {
            return Ok(found);
        }
        let Some(run) = run_of(core, &asked.job).await? else { continue };
        // if the attempt has failed meanwhile, the next one is asked
        if let Some(made) = run.save(&asked.name, asked.stop).await? {
            return Ok(made);
        }
    }
}

/// The row of a job that is not over.
///
/// # Errors
/// If it is.
async fn open_row(core: &Arc<Core>, id: &str) -> Result<Row> {
    let row = core.row(id).await?;
    match row.state.is_over() {
        true => Err(Error::Usage(format!("job {id} is {}: only a job that runs can do this", row.state))),
        false => Ok(row),
    }
}

/// Waits until a job runs and is led here: the attempt. None if it is not yet so: to be asked again.
///
/// # Errors
/// If it is over.
async fn run_of(core: &Arc<Core>, id: &str) -> Result<Option<Arc<Run>>> {
    let row = open_row(core, id).await?;
    core.job_of(&row)?;
    let run = core.hub.run(id, row.attempt).filter(|_| running_on(&row));
    if run.is_none() {
        // or was a killed server's: that it does not run is written down in a moment
        pause().await;
    }
    Ok(run)
}

/// Whether a job runs.
pub(super) fn running_on(row: &Row) -> bool {
    row.state == JobState::Running
}

/// Waits until a job has stopped with a savepoint.
///
/// # Errors
/// If it goes on instead.
pub(super) async fn until_stopped(core: &Arc<Core>, id: &str, dir: &Path, made: &Savepoint) -> Result<JobState> {
    loop {
        let row = core.row(id).await?;
        if row.state.is_over() {
            return Ok(row.state);
        }
        if running_on(&row) {
            let dir = dir.to_owned();
            if blocking(move || newest_checkpoint(&dir)).await? > Some(made.epoch) {
                let name = &made.name;
                return Err(Error::Checkpoint(format!(
                    "job {id} was not stopped with savepoint `{name}`: it has a newer checkpoint, and goes on; ask again, with another name"
                )));
            }
        }
        pause().await;
    }
}

/// The directory of a job's checkpoints.
///
/// # Errors
/// If it has none, or is over.
pub(in crate::cluster) async fn checkpoints_of(core: &Arc<Core>, id: &str) -> Result<std::path::PathBuf> {
    let row = open_row(core, id).await?;
    let (_, options) = core.job_of(&row)?;
    options.checkpoint_dir.ok_or_else(|| {
        Error::Usage(format!(
            "job {id} keeps no checkpoints, which this needs: submit it with `--checkpoint-dir` and a directory that all agents reach"
        ))
    })
}

/// Lets a job go on with another number of instances.
pub(super) async fn rescale(core: Arc<Core>, flow: Flow, asked: Asked) -> Result<Value> {
    begin_asked(&core, &flow, OperationKind::Rescale, &asked).await?;
    let outcome = rescaled(&core, &flow, &asked.job, asked.parallelism, None).await;
    ended(&core, &flow, outcome).await
}

/// Stops a job with a checkpoint, and waits until it runs with `parallelism`; on other agents than one that is to leave, if given.
pub(super) async fn rescaled(core: &Arc<Core>, flow: &Flow, id: &str, parallelism: usize, off: Option<Off<'_>>) -> Result<Value> {
    let label = |what: &str| if off.is_some() { format!("{what} {id}") } else { what.to_owned() };
    let (begun, first): (i64, u32) = step(core, flow, &label("validate"), || async {
        checkpoints_of(core, id).await?;
        let since = door::now();
        while let Some(off) = off
            && let Some(why) = off.epoch(core).and_then(|epoch| core.hub.no_room(epoch, Some(id)))
        {
            if door::now().saturating_sub(since) >= off.patience {
                return Err(Error::Usage(format!("job {id} cannot leave its agent, and stays: {why}")));
            }
            pause().await;
        }
        // the agents that it had may not have joined yet
        while off.is_none() && core.gathers(flow.id()) && missing(core, id, parallelism).is_some() {
            pause().await;
        }
        match missing(core, id, parallelism).filter(|_| off.is_none()) {
            Some(why) => Err(Error::Usage(why)),
            None => Ok((now(), core.row(id).await?.attempt)),
        }
    })
    .await?;
    // an agent that goes takes no other parallelism back with it
    let wanted = async || match off {
        Some(_) => read(&core.row(id).await?.options, "a job's options").map(|options: RunOptions| options.threads),
        None => Ok(parallelism),
    };
    let moved = |run: &Run| has_moved(core, run, first, parallelism, off);
    let asked: Option<u32> = step(core, flow, &label("checkpoint and stop"), || async {
        loop {
            let Some(run) = run_of(core, id).await? else { continue };
            if moved(&run) {
                return Ok(None);
            }
            // if the attempt has failed meanwhile, the next one is asked
            if run.end(&move_to(wanted().await?, run.attempt)).await? {
                return Ok(Some(run.attempt));
            }
        }
    })
    .await?;
    step(core, flow, &label("redistribute, deploy and resume"), || async {
        let mut asked = asked.unwrap_or(first);
        loop {
            let Some(run) = run_of(core, id).await? else { continue };
            if moved(&run) {
                let (parallelism, attempt) = (run.parallelism, run.attempt);
                return Ok(json!({ "parallelism": parallelism, "attempt": attempt, "took_ms": now() - begun }));
            }
            // it has come back as it was, or as somebody else has asked
            if run.attempt > asked && run.end(&move_to(wanted().await?, run.attempt)).await? {
                asked = run.attempt;
            }
            pause().await;
        }
    })
    .await
}

/// Why a job finds no slots for a parallelism, if so.
fn missing(core: &Core, id: &str, parallelism: usize) -> Option<String> {
    let runs = core.hub.runs();
    let own = runs.values().filter(|r| r.job == id && r.holds_slots()).map(|r| r.assignments.slots.len()).sum::<usize>();
    let free = core.hub.free(&runs, None);
    let missing = parallelism.saturating_sub(free + own);
    (missing > 0).then(|| {
        format!(
            "job {id} cannot run with parallelism {parallelism}: {missing} slots are missing ({free} are free, and it has {own}); start another agent (`agent --join <server>`)"
        )
    })
}

/// Whether the attempt that runs is what was asked for: one that began after the `first`, with this parallelism; or, if an agent is to leave, any that has
/// nothing there. What the job is to have in the next attempt says nothing of this one.
fn has_moved(core: &Core, run: &Run, first: u32, parallelism: usize, off: Option<Off<'_>>) -> bool {
    match off {
        Some(off) => off.epoch(core).is_none_or(|epoch| run.assignments.slots_on(epoch) == 0),
        None => run.attempt > first && run.parallelism == parallelism,
    }
}
