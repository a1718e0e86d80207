//! What is asked of a job that runs: cancel, savepoint, rescale. They tell the job, and wait for what its own workflow makes of it.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::core::{Core, blocking, now, pause, read, write};
use super::decide::move_to;
use super::drain::Leaver;
use super::flows::{Asked, begin, ended, step};
use super::run::{End, Stage};
use super::upgrade::give_up;
use crate::cluster::durable::Flow;
use crate::cluster::store::{Job as Row, JobState, OperationKind};
use crate::runtime::RunOptions;
use crate::{Error, Result};

/// Writes down what was asked, unless that is done: a server may be killed between the two.
pub(super) async fn begin_asked(core: &Arc<Core>, flow: &Flow, kind: OperationKind, asked: &Asked) -> Result<()> {
    begin(core, flow.id(), kind, Some(&asked.job), &write(asked, "an operation")?).await.map(drop)
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
                // no server of its build is there to end it
                give_up(core, id, "").await?;
                core.store.change_job(core.fence, id, JobState::Cancelled, "it was cancelled", now()).await?;
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
    let made: Value = step(core, flow, "save", || save(core, asked, &dir)).await?;
    if asked.stop {
        step(core, flow, "stop", || until_over(core, &asked.job)).await?;
    }
    Ok(made)
}

/// Makes the savepoint that was asked for, unless that is done.
pub(super) async fn save(core: &Arc<Core>, asked: &Asked, dir: &Path) -> Result<Value> {
    loop {
        // made before the server was killed, or by an attempt that has ended since
        let (at, name) = (dir.to_owned(), asked.name.clone());
        let known = blocking(move || Ok(crate::runtime::savepoints(&at)?.into_iter().flatten().find(|s| s.name == name))).await?;
        if let Some(found) = known {
            return write(&found, "a savepoint");
        }
        let row = running(core, &asked.job).await?;
        let Some(run) = row.and_then(|attempt| core.hub.run(&asked.job, attempt)) else { continue };
        let Some(lead) = run.lead() else { continue };
        let (name, stop) = (asked.name.clone(), asked.stop);
        match blocking(move || lead.request_savepoint(&name, stop).wait()).await {
            Ok(made) => return write(&made, "a savepoint"),
            // the attempt has failed meanwhile: the next one is asked
            Err(e) if matches!(run.stage(), Stage::Over(End::Failed { .. })) => drop(e),
            Err(e) => return Err(e),
        }
    }
}

/// Waits until a job runs; its attempt. None if it is not yet so: to be asked again.
///
/// # Errors
/// If it is over.
async fn running(core: &Arc<Core>, id: &str) -> Result<Option<u32>> {
    let row = core.row(id).await?;
    if row.state.is_over() {
        return Err(Error::Usage(format!("job {id} is {}: only a job that runs can do this", row.state)));
    }
    core.job_of(&row)?;
    if running_on(&row) {
        return Ok(Some(row.attempt));
    }
    pause().await;
    Ok(None)
}

/// Whether a job runs.
pub(super) fn running_on(row: &Row) -> bool {
    row.state == JobState::Running
}

pub(super) async fn until_over(core: &Arc<Core>, id: &str) -> Result<JobState> {
    loop {
        let row = core.row(id).await?;
        if row.state.is_over() {
            return Ok(row.state);
        }
        pause().await;
    }
}

/// The directory of a job's checkpoints.
///
/// # Errors
/// If it has none, or is over.
pub(in crate::cluster) async fn checkpoints_of(core: &Arc<Core>, id: &str) -> Result<std::path::PathBuf> {
    let row = core.row(id).await?;
    if row.state.is_over() {
        return Err(Error::Usage(format!("job {id} is {}: only a job that runs can do this", row.state)));
    }
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

/// Stops a job with a checkpoint, and waits until it runs with `parallelism`; on other agents than one that leaves, if that is why.
pub(super) async fn rescaled(core: &Arc<Core>, flow: &Flow, id: &str, parallelism: usize, off: Option<&Leaver>) -> Result<Value> {
    let label = |what: &str| if off.is_some() { format!("{what} {id}") } else { what.to_owned() };
    let (begun, first): (i64, u32) = step(core, flow, &label("validate"), || async {
        loop {
            checkpoints_of(core, id).await?;
            let row = core.row(id).await?;
            let (free, own) = {
                let runs = core.hub.runs();
                let own = runs.values().filter(|r| r.job == id && r.holds_slots()).map(|r| r.assignments.slots.len()).sum::<usize>();
                (core.hub.offers(&runs).iter().map(|o| o.free).sum::<usize>(), own)
            };
            if off.is_some() || free + own >= parallelism {
                return Ok((now(), row.attempt));
            }
            if !core.gathers(flow.id()) {
                return Err(Error::Usage(format!(
                    "job {id} cannot run with parallelism {parallelism}: {} slots are missing ({free} are free, and it has {own}); start another agent (`agent --join <server>`)",
                    parallelism - free - own
                )));
            }
            pause().await;
        }
    })
    .await?;
    let moved = |attempt: u32| {
        let stays = |leaver: &Leaver| {
            let epoch = core.hub.leaver(&leaver.agent, leaver.pid);
            core.hub.run(id, attempt).is_none_or(|r| epoch.is_some_and(|e| r.assignments.slots_on(e) > 0))
        };
        attempt > first && off.is_none_or(|leaver| !stays(leaver))
    };
    step(core, flow, &label("checkpoint and stop"), || async {
        loop {
            let row = core.row(id).await?;
            let options: RunOptions = read(&row.options, "a job's options")?;
            if row.attempt > first && options.threads == parallelism && (off.is_none() || moved(row.attempt)) {
                return Ok(());
            }
            let Some(attempt) = running(core, id).await? else { continue };
            let Some(run) = core.hub.run(id, attempt) else { continue };
            let Some(lead) = run.lead() else { continue };
            let name = move_to(parallelism, attempt);
            match blocking(move || lead.request_savepoint(&name, true).wait()).await {
                Ok(_) => return Ok(()),
                Err(e) if matches!(run.stage(), Stage::Over(End::Finished | End::Cancelled)) => return Err(e),
                // the attempt has failed meanwhile: the next one is asked
                Err(_) => pause().await,
            }
        }
    })
    .await?;
    step(core, flow, &label("redistribute, deploy and resume"), || async {
        loop {
            if let Some(attempt) = running(core, id).await?
                && moved(attempt)
            {
                return Ok(json!({ "parallelism": parallelism, "attempt": attempt, "took_ms": now() - begun }));
            }
            pause().await;
        }
    })
    .await
}
