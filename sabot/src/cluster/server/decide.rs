//! What follows when an attempt has ended.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::core::{Core, blocking, now, write};
use super::flows::begin;
use super::run::{End, Failing};
use crate::Result;
use crate::cluster::store::{JobState, Level, Operation, OperationKind, OperationState};
use crate::runtime::{RunOptions, newest_checkpoint, savepoint_named, savepoint_names};

/// Names with which an attempt ends to go on elsewhere, or otherwise; a parallelism and the attempt follow. No savepoint has one.
pub(in crate::cluster) const MOVES: &str = "sabot-move-";
/// Attempts that fail one after the other, without a checkpoint between them, until the job fails.
pub(super) const RESTARTS: u32 = 10;
/// More operations than a job has at a time.
const OPERATIONS: u32 = 1000;
/// The wait before the second attempt; doubled for each further one, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// The name with which an attempt ends, to go on with this parallelism.
pub(super) fn move_to(parallelism: usize, attempt: u32) -> String {
    format!("{MOVES}{parallelism}-{attempt}")
}
/// The parallelism of such a name.
fn moves(name: &str) -> Option<usize> {
    name.strip_prefix(MOVES)?.split('-').next()?.parse().ok()
}

/// What follows an attempt.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Next {
    /// Another one, after a wait.
    Attempt { failures: u32, wait_ms: u64, checkpoint: Option<u64> },
    /// Nothing.
    Over(JobState),
}

/// What is known when an attempt has ended.
pub(super) struct Decision<'a> {
    pub(super) id: &'a str,
    pub(super) attempt: u32,
    pub(super) failures: u32,
    pub(super) checkpoint: Option<u64>,
    pub(super) endless: bool,
    pub(super) limit: u32,
    pub(super) end: &'a End,
}

/// What follows.
pub(super) async fn decide(core: &Arc<Core>, at: &Decision<'_>) -> Result<Next> {
    match decided(core, at).await {
        // it was asked to stop between the look and the change
        Err(_) if core.row(at.id).await?.state == JobState::Stopping => decided(core, at).await,
        other => other,
    }
}
async fn decided(core: &Arc<Core>, at: &Decision<'_>) -> Result<Next> {
    let Decision { id, attempt, failures, checkpoint, endless, limit, end } = *at;
    let row = core.row(id).await?;
    if row.state.is_over() {
        return Ok(Next::Over(row.state));
    }
    let stopping = row.state == JobState::Stopping;
    let (_, mut options) = core.job_of(&row)?;
    let newest = match (end, options.checkpoint_dir.clone()) {
        (End::Failed { .. }, Some(dir)) => blocking(move || newest_checkpoint(&dir)).await.unwrap_or(checkpoint),
        _ => None,
    };
    // it may have stopped as it was asked to, and the server was killed, or the agent lost, before that was noted
    let stopped = match (end, &options.checkpoint_dir) {
        (End::Failed { .. }, Some(dir)) if !stopping => stopped_with(core, id, (dir, &options), newest).await?.map(End::Suspended),
        _ => None,
    };
    let end = stopped.as_ref().unwrap_or(end);
    let enter = async |state: JobState, reason: &str| core.store.change_job(core.fence, id, state, reason, now()).await.map(drop);
    let over = |state: JobState| Ok(Next::Over(state));
    // what was to bring this attempt up is over, if that did not end it already
    let brought_up = recovery(id, attempt);
    if core.store.operation(&brought_up).await?.is_some() {
        let done = json!({ "job": id, "attempt": attempt });
        let how = if let End::Failed { error, .. } = end { Err(error.as_str()) } else { Ok(&done) };
        core.store.end_operation(core.fence, &brought_up, Some(how), now()).await?;
    }
    match end {
        End::Finished => {
            enter(JobState::Finished, "all rows are where they belong").await?;
            core.hub.say(Level::Info, Some(id), None, format!("job {id} has finished"));
            over(JobState::Finished)
        }
        End::Cancelled => {
            enter(JobState::Cancelled, "it was cancelled").await?;
            core.hub.say(Level::Info, Some(id), None, format!("job {id} was cancelled"));
            over(JobState::Cancelled)
        }
        End::Suspended(name) => match moves(name) {
            Some(_) if stopping => {
                enter(JobState::Cancelled, "it was cancelled").await?;
                over(JobState::Cancelled)
            }
            Some(parallelism) => {
                options.threads = parallelism;
                let options = write(&options, "a job's options")?;
                core.store.respecify(core.fence, id, &row.build, &row.spec, &options, now()).await?;
                enter(JobState::Starting, &format!("it goes on with parallelism {parallelism}")).await?;
                Ok(Next::Attempt { failures: 0, wait_ms: 0, checkpoint })
            }
            _ => {
                if row.state != JobState::Suspended {
                    if !stopping {
                        enter(JobState::Stopping, "it was asked to stop with a savepoint").await?;
                    }
                    enter(JobState::Suspended, &format!("it was stopped with savepoint `{name}`")).await?;
                }
                core.hub.say(Level::Info, Some(id), None, format!("job {id} was stopped with savepoint `{name}`"));
                over(JobState::Suspended)
            }
        },
        End::Failed { .. } if stopping => {
            enter(JobState::Cancelled, "it was cancelled").await?;
            over(JobState::Cancelled)
        }
        End::Failed { error, again, what } => {
            let failures = if newest > checkpoint { 1 } else { failures + 1 };
            let why = match (again, endless) {
                (false, _) => Some(String::new()),
                (true, true) => Some(": it keeps no checkpoints, so nothing says where to go on (`--checkpoint-dir`)".to_owned()),
                (true, false) if failures > limit => {
                    Some(format!(" (attempt {attempt}; {failures} have failed without a checkpoint between them)"))
                }
                (true, false) => None,
            };
            if let Some(why) = why {
                let sentence = format!("{error}{why}");
                enter(JobState::Failed, &sentence).await?;
                core.hub.say(Level::Error, Some(id), None, format!("job {id} failed: {sentence}"));
                return over(JobState::Failed);
            }
            enter(JobState::Restarting, error).await?;
            let from = newest.map_or_else(|| "from its start".to_owned(), |n| format!("from checkpoint {n}"));
            core.hub.say(Level::Warning, Some(id), None, format!("job {id} goes on {from}, since attempt {attempt} failed: {error}"));
            let kind = match what {
                Failing::Task => OperationKind::RecoverTask,
                Failing::Agent | Failing::Server => OperationKind::RecoverAgent,
            };
            begin(core, &recovery(id, attempt + 1), kind, Some(id), &json!({ "error": error, "checkpoint": newest })).await?;
            let wait = if failures == 1 { Duration::ZERO } else { (BACKOFF.0 * 2_u32.pow((failures - 2).min(10))).min(BACKOFF.1) };
            Ok(Next::Attempt { failures, wait_ms: u64::try_from(wait.as_millis()).unwrap_or(0), checkpoint: newest })
        }
    }
}

/// The savepoint with which an attempt has stopped as it was asked to, if it has: nothing of the job is newer than it.
async fn stopped_with(core: &Arc<Core>, id: &str, (dir, options): (&Path, &RunOptions), newest: Option<u64>) -> Result<Option<String>> {
    let operations = core.store.operations(Some(id), OPERATIONS).await?.into_iter();
    let stops = |o: &Operation| o.state == OperationState::Running && matches!(o.kind, OperationKind::Suspend | OperationKind::Upgrade);
    let asked: Vec<String> =
        operations.filter(stops).filter_map(|o| o.input.get("name").and_then(|n| n.as_str()).map(str::to_owned)).collect();
    if asked.is_empty() {
        return Ok(None);
    }
    // what it began with is not what it stopped with
    let (dir, from) = (dir.to_owned(), options.from_savepoint.clone());
    blocking(move || {
        let newest = |name: &String| {
            savepoint_named(&dir, name).is_ok_and(|saved| Some(saved.epoch) >= newest && Some(&saved.path) != from.as_ref())
        };
        Ok(savepoint_names(&dir)?.into_iter().filter(|name| asked.contains(name)).find(newest))
    })
    .await
}

/// The operation that brings an attempt up after one that failed.
pub(super) fn recovery(job: &str, attempt: u32) -> String {
    format!("recover-{job}-{attempt}")
}
