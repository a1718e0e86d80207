//! The server's workflows: what becomes of a job, step by step, whoever is killed.
//!
//! `submit` lives as long as its job. Its first steps are persist, optimise and compile; then each attempt is assigned, deployed, activated, monitored and
//! fenced, and what follows is decided by how it ended. A server that was killed meanwhile finds no trace of the attempt in its memory, so the attempt has
//! ended for the workflow; the next one begins once the agents' leases are over. `cancel`, `savepoint`, `rescale` and `drain` tell the job, and wait for what
//! its own workflow makes of it.
//!
//! All decisions are made of recorded values: of steps, whose bodies may be repeated.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attempt::{self, Assign, Going};
use super::core::{Core, TRIES, blocking, compiled, now, patiently, pause, read, write};
use super::run::{End, may_pass};
use crate::cluster::api::Submission;
use crate::cluster::durable::{Definitions, Flow, Retry};
use crate::cluster::store::{JobState, Level, NewJob, Operation, OperationKind, OperationState};
use crate::runtime::share::StageShape;
use crate::runtime::{RunOptions, Savepoint, delete_savepoint, newest_checkpoint, savepoint_named, savepoint_names};
use crate::stream::{Job, JobSpec};
use crate::{Error, Result};

/// Savepoints with which a job stops to go on elsewhere, or otherwise; a parallelism and the attempt follow. They are deleted again.
pub(in crate::cluster) const MOVES: &str = "sabot-move-";
/// More operations than a job has at a time.
const OPERATIONS: u32 = 1000;
/// Attempts that fail one after the other, without a checkpoint between them, until the job fails.
pub(super) const RESTARTS: u32 = 10;
/// How long an agent that leaves waits for its tasks to move.
const FAREWELL: Duration = Duration::from_secs(60);
/// The wait before the second attempt; doubled for each further one, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Changed when a workflow takes other steps.
const VERSION: &str = "sabot-1";

/// The name of the savepoint with which an attempt stops, to go on with this parallelism.
fn move_to(parallelism: usize, attempt: u32) -> String {
    format!("{MOVES}{parallelism}-{attempt}")
}
/// The parallelism and the attempt of such a name.
fn moves(name: &str) -> Option<(usize, u32)> {
    let (parallelism, attempt) = name.strip_prefix(MOVES)?.split_once('-')?;
    Some((parallelism.parse().ok()?, attempt.parse().ok()?))
}

/// What `submit` is given.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::cluster) struct Submitted {
    pub(in crate::cluster) job: String,
    pub(in crate::cluster) submission: Submission,
}

/// What the others are given.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::cluster) struct Asked {
    pub(in crate::cluster) job: String,
    /// A savepoint's name.
    #[serde(default)]
    pub(in crate::cluster) name: String,
    #[serde(default)]
    pub(in crate::cluster) stop: bool,
    #[serde(default)]
    pub(in crate::cluster) parallelism: usize,
}

#[derive(Clone, Serialize, Deserialize)]
struct Drained {
    agent: String,
    epoch: u64,
    /// Whether a user asked for it; else the agent itself leaves.
    #[serde(default)]
    asked: bool,
}

/// An agent that what runs there is to leave.
#[derive(Clone, Copy)]
struct Off {
    epoch: u64,
    /// How long its jobs wait for room on others.
    patience: Duration,
}

/// A job's parallelism in an attempt, and its stages.
#[derive(Clone, Serialize, Deserialize)]
struct Compiled {
    parallelism: usize,
    shapes: Vec<StageShape>,
}

/// Whether the next attempt can be placed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Ready {
    Compiled(Compiled),
    /// The attempt has ended before that.
    Over(End),
}

/// What follows an attempt.
#[derive(Clone, Serialize, Deserialize)]
enum Next {
    /// Another one, after a wait.
    Attempt { failures: u32, wait_ms: u64, checkpoint: Option<u64> },
    /// Nothing.
    Over(JobState),
}

/// All of them.
pub(super) fn definitions(core: &Arc<Core>) -> Definitions {
    let submit = with(core, |core, flow, input| Box::pin(submit(core, flow, input)));
    let cancel = with(core, |core, flow, input| Box::pin(cancel(core, flow, input)));
    let savepoint = with(core, |core, flow, input| Box::pin(savepoint(core, flow, input)));
    let rescale = with(core, |core, flow, input| Box::pin(rescale(core, flow, input)));
    let drain = with(core, |core, flow, input| Box::pin(drain(core, flow, input)));
    Definitions::new(VERSION)
        .with("submit", submit)
        .with("cancel", cancel)
        .with("savepoint", savepoint)
        .with("rescale", rescale)
        .with("drain", drain)
}

type Flowing = std::pin::Pin<Box<dyn Future<Output = Result<Value>> + Send>>;

/// Gives a workflow the core.
fn with<I>(
    core: &Arc<Core>,
    body: impl Fn(Arc<Core>, Flow, I) -> Flowing + Send + Sync + 'static,
) -> impl Fn(Flow, I) -> Flowing + Send + Sync + 'static {
    let core = Arc::downgrade(core);
    move |flow, input| match core.upgrade() {
        Some(core) => body(core, flow, input),
        None => Box::pin(async { Err(Error::Control("the server ends".into())) }),
    }
}

/// Runs a step of an operation, which says so. What may pass by itself is tried again: the store is busy, say.
async fn step<T, Fut>(core: &Arc<Core>, flow: &Flow, name: &str, body: impl Fn() -> Fut + Send + Sync) -> Result<T>
where
    T: Serialize + serde::de::DeserializeOwned + Send,
    Fut: Future<Output = Result<T>> + Send,
{
    flow.try_step(name, Retry::transient(TRIES), || {
        let work = body();
        async {
            core.store.progress(core.fence, flow.id(), name, now()).await?;
            work.await
        }
    })
    .await
}

/// Ends an operation with what its workflow ends with.
async fn ended(core: &Arc<Core>, flow: &Flow, outcome: Result<Value>) -> Result<Value> {
    let said = outcome.as_ref().map_err(ToString::to_string);
    // the workflow is not over: it runs again, or was cancelled
    if flow.broken() {
        return outcome;
    }
    let end = said.as_ref().map_err(String::as_str).copied();
    patiently(|| core.store.end_operation(core.fence, flow.id(), Some(end), now())).await?;
    outcome
}

/// A job from its submission to its end.
async fn submit(core: Arc<Core>, flow: Flow, input: Submitted) -> Result<Value> {
    let outcome = job(&core, &flow, &input).await;
    // the job has not ended then: the workflow runs again
    if flow.broken() {
        return outcome;
    }
    patiently(|| async {
        if let Err(error) = &outcome {
            give_up(&core, &input.job, error).await?;
        }
        // an operation whose job failed before it ran has failed too
        if let Some(row) = core.store.job(&input.job).await?.filter(|r| r.state == JobState::Failed) {
            let sentence = row.error.unwrap_or_else(|| "the job failed".into());
            core.store.end_operation(core.fence, flow.id(), Some(Err(&sentence)), now()).await?;
        }
        Ok(())
    })
    .await?;
    ended(&core, &flow, outcome).await
}

/// Fails a job that cannot be brought further: nothing of it runs on, and its slots are free, before it is said to have failed.
pub(super) async fn give_up(core: &Arc<Core>, id: &str, error: &Error) -> Result<()> {
    let Some(row) = core.store.job(id).await?.filter(|r| !r.state.is_over()) else { return Ok(()) };
    let sentence = error.to_string();
    if let Some(run) = core.hub.run(id, row.attempt) {
        run.give_up(&sentence);
    }
    if row.attempt > 0 {
        attempt::fence(core, id, row.attempt).await?;
    }
    core.store.change_job(core.fence, id, JobState::Failed, &sentence, now()).await?;
    core.hub.say(Level::Error, Some(id), None, format!("job {id} failed: {sentence}"));
    Ok(())
}

async fn job(core: &Arc<Core>, flow: &Flow, input: &Submitted) -> Result<Value> {
    let id = input.job.as_str();
    flow.try_step("persist", Retry::transient(TRIES), || persist(core, flow, input)).await?;
    step(core, flow, "optimise", || optimise(core, input)).await?;
    let endless = endless(&input.submission);
    let (mut attempt, mut failures, mut checkpoint, mut before) = (0_u32, 0_u32, None, Vec::<String>::new());
    loop {
        attempt += 1;
        let name = |what: &str| if attempt == 1 { what.to_owned() } else { format!("{what} {attempt}") };
        let ready: Ready = step(core, flow, &name("compile"), || compile(core, id, attempt)).await?;
        let (parallelism, assigned) = match ready {
            Ready::Compiled(Compiled { parallelism, shapes }) => {
                let assign = || attempt::assign(core, id, attempt, parallelism, &shapes, &before);
                (parallelism, step(core, flow, &name("assign"), assign).await?)
            }
            Ready::Over(end) => (0, Assign::Over(end)),
        };
        let end = match assigned {
            Assign::Placed(assignments) => {
                before = assignments.by_slot();
                let mut going: Going = step(core, flow, &name("deploy"), || attempt::deploy(core, id, attempt, parallelism)).await?;
                if going == Going::On {
                    going = step(core, flow, &name("activate"), || attempt::activate(core, flow.id(), id, attempt)).await?;
                }
                if going == Going::On {
                    going = step(core, flow, &name("monitor"), || attempt::monitor(core, id, attempt)).await?;
                }
                step(core, flow, &name("fence"), || attempt::fence(core, id, attempt)).await?;
                match going {
                    Going::Over(end) => end,
                    Going::On => return Err(Error::internal("a job is monitored no more, but goes on")),
                }
            }
            Assign::Over(end) => {
                // what a server that was killed has placed is given back
                if end == attempt::forgotten() {
                    step(core, flow, &name("fence"), || attempt::fence(core, id, attempt)).await?;
                }
                end
            }
        };
        let limit = input.submission.restarts.unwrap_or(RESTARTS);
        let state = Decision { id, attempt, failures, checkpoint, endless, limit, end: &end };
        let next: Next = step(core, flow, &name("decide"), || decide(core, &state)).await?;
        match next {
            Next::Over(state) => return Ok(json!({ "state": state })),
            Next::Attempt { failures: f, wait_ms, checkpoint: c } => {
                (failures, checkpoint) = (f, c);
                if wait_ms > 0 {
                    flow.sleep(Duration::from_millis(wait_ms)).await?;
                }
            }
        }
    }
}

/// Writes the job and the operation down.
async fn persist(core: &Arc<Core>, flow: &Flow, input: &Submitted) -> Result<()> {
    let Submission { name, spec, options, .. } = &input.submission;
    let new = NewJob {
        id: input.job.clone(),
        name: name.clone().unwrap_or_else(|| spec.pipeline.clone()),
        build: spec.build.clone(),
        spec: write(spec, "a job's specification")?,
        options: write(options, "a job's options")?,
    };
    core.store.submit(core.fence, &new, now()).await?;
    begin(core, flow.id(), OperationKind::Submit, Some(&input.job), &json!({ "pipeline": spec.pipeline })).await?;
    Ok(())
}

/// Writes an operation down.
pub(in crate::cluster) async fn begin(core: &Core, id: &str, kind: OperationKind, job: Option<&str>, input: &Value) -> Result<Operation> {
    core.store.begin_operation(core.fence, id, kind, job, input, now()).await
}

/// Makes the plan anew, here: what agents run is what this server has optimised.
async fn optimise(core: &Arc<Core>, input: &Submitted) -> Result<()> {
    let row = core.row(&input.job).await?;
    let (spec, options) = core.job_of(&row)?;
    let spec = blocking(move || {
        let plan = Job::named(&spec.pipeline, spec.params.clone())?.plan()?;
        Ok(JobSpec { plan, ..spec })
    })
    .await?;
    core.store
        .respecify(
            core.fence,
            &input.job,
            &spec.build,
            &write(&spec, "a job's specification")?,
            &write(&options, "a job's options")?,
            now(),
        )
        .await?;
    Ok(())
}

/// The parallelism and the stages of the next attempt. Sources are opened for that, which may be away: then the attempt has failed.
async fn compile(core: &Arc<Core>, id: &str, attempt: u32) -> Result<Ready> {
    let row = core.row(id).await?;
    let (spec, mut options) = core.job_of(&row)?;
    if options.threads == 0 {
        let free: usize = core.hub.offers(&core.hub.runs()).iter().map(|o| o.free).sum();
        options.threads = free.max(1);
        core.store.respecify(core.fence, id, &row.build, &row.spec, &write(&options, "a job's options")?, now()).await?;
    }
    let parallelism = options.threads;
    match blocking(move || compiled(&spec, &options, parallelism)).await {
        Ok(shapes) => Ok(Ready::Compiled(Compiled { parallelism, shapes })),
        Err(error) => {
            // an attempt without tasks
            core.store.place_tasks(core.fence, id, attempt, &[], now()).await?;
            attempt::enter(core, id, JobState::Starting, &format!("attempt {attempt}, which finds no source, or no plan")).await?;
            // whoever submits is told of what is wrong at once; a job that ran is tried again
            let again = if attempt == 1 { error.is_transient() } else { may_pass(&error) };
            Ok(Ready::Over(End::Failed { error: error.to_string(), again }))
        }
    }
}

/// Whether a job cannot begin anew without losing its place.
fn endless(submission: &Submission) -> bool {
    let spec = &submission.spec;
    let job = Job::from_spec(spec);
    submission.options.checkpoint_dir.is_none() && job.map(|j| j.may_be_endless()).unwrap_or(false)
}

/// What is known when an attempt has ended.
struct Decision<'a> {
    id: &'a str,
    attempt: u32,
    failures: u32,
    checkpoint: Option<u64>,
    endless: bool,
    limit: u32,
    end: &'a End,
}

/// What follows.
async fn decide(core: &Arc<Core>, at: &Decision<'_>) -> Result<Next> {
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
    // it may have stopped as it was asked to, and the server was killed, or an agent lost, before that was noted
    let stopped = match (end, &options.checkpoint_dir) {
        (End::Failed { .. }, Some(dir)) if !stopping => stopped_with(core, id, attempt, dir, newest).await?.map(End::Suspended),
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
        End::Suspended(name) => match (moves(name), options.checkpoint_dir.clone()) {
            (Some((parallelism, _)), Some(dir)) => {
                let next = if stopping {
                    enter(JobState::Cancelled, "it was cancelled").await?;
                    Next::Over(JobState::Cancelled)
                } else {
                    options.threads = parallelism;
                    let options_json = write(&options, "a job's options")?;
                    core.store.respecify(core.fence, id, &row.build, &row.spec, &options_json, now()).await?;
                    enter(JobState::Starting, &format!("it goes on with parallelism {parallelism}")).await?;
                    Next::Attempt { failures: 0, wait_ms: 0, checkpoint }
                };
                let name = name.clone();
                // it was only made to stop; the checkpoint of its number is what the job goes on from
                let _ = blocking(move || delete_savepoint(&dir, &name)).await;
                Ok(next)
            }
            _ => {
                if row.state != JobState::Suspended {
                    if !stopping && !row.state.is_over() {
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
        End::Failed { error, again } => {
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
            let kind = if error.contains("was lost") { OperationKind::RecoverAgent } else { OperationKind::RecoverTask };
            begin(core, &recovery(id, attempt + 1), kind, Some(id), &json!({ "error": error, "checkpoint": newest })).await?;
            let wait = if failures == 1 { Duration::ZERO } else { (BACKOFF.0 * 2_u32.pow((failures - 2).min(10))).min(BACKOFF.1) };
            Ok(Next::Attempt { failures, wait_ms: u64::try_from(wait.as_millis()).unwrap_or(0), checkpoint: newest })
        }
    }
}

/// The savepoint with which an attempt has stopped as it was asked to, if it has: nothing of the job is newer than it.
async fn stopped_with(core: &Arc<Core>, id: &str, attempt: u32, dir: &Path, newest: Option<u64>) -> Result<Option<String>> {
    let mut operations = core.store.operations(Some(id), OPERATIONS).await?;
    operations.retain(|o| o.state == OperationState::Running);
    let suspends = operations.iter().filter(|o| o.kind == OperationKind::Suspend);
    let asked: Vec<String> = suspends.filter_map(|o| o.input.get("name").and_then(|n| n.as_str()).map(str::to_owned)).collect();
    // agents that leave move jobs too, by operations that are of no job
    let leaving = core.store.operations(None, OPERATIONS).await?;
    let moving = operations.iter().any(|o| o.kind == OperationKind::Rescale)
        || leaving.iter().any(|o| o.state == OperationState::Running && o.kind == OperationKind::RecoverAgent && o.job.is_none());
    if asked.is_empty() && !moving {
        return Ok(None);
    }
    let dir = dir.to_owned();
    blocking(move || {
        let stops = |name: &String| asked.contains(name) || (moving && moves(name).is_some_and(|(_, of)| of == attempt));
        let newest = |name: &String| savepoint_named(&dir, name).is_ok_and(|saved| Some(saved.epoch) >= newest);
        Ok(savepoint_names(&dir)?.into_iter().filter(stops).find(newest))
    })
    .await
}

/// The operation that brings an attempt up after one that failed.
pub(super) fn recovery(job: &str, attempt: u32) -> String {
    format!("recover-{job}-{attempt}")
}

/// Writes down what was asked, unless that is done: a server may be killed between the two.
async fn begin_asked(core: &Arc<Core>, flow: &Flow, kind: OperationKind, asked: &Asked) -> Result<()> {
    let input = write(asked, "an operation")?;
    patiently(|| begin(core, flow.id(), kind, Some(&asked.job), &input)).await.map(drop)
}

/// Ends a job for good.
async fn cancel(core: Arc<Core>, flow: Flow, asked: Asked) -> Result<Value> {
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
async fn savepoint(core: Arc<Core>, flow: Flow, asked: Asked) -> Result<Value> {
    let kind = if asked.stop { OperationKind::Suspend } else { OperationKind::Savepoint };
    begin_asked(&core, &flow, kind, &asked).await?;
    let outcome = saved(&core, &flow, &asked).await;
    ended(&core, &flow, outcome).await
}
async fn saved(core: &Arc<Core>, flow: &Flow, asked: &Asked) -> Result<Value> {
    let dir = step(core, flow, "validate", || async { checkpoints_of(core, &asked.job).await }).await?;
    let made: Savepoint = step(core, flow, "save", || async {
        loop {
            // made before the server was killed, or by an attempt that has ended since
            let (at, name) = (dir.clone(), asked.name.clone());
            let known = blocking(move || match savepoint_names(&at)?.contains(&name) {
                true => savepoint_named(&at, &name).map(Some),
                false => Ok(None),
            });
            if let Some(found) = known.await? {
                return Ok(found);
            }
            let Some(attempt) = running(core, &asked.job).await? else { continue };
            let Some(run) = core.hub.run(&asked.job, attempt) else {
                pause().await;
                continue;
            };
            // if the attempt has failed meanwhile, the next one is asked
            if let Some(made) = run.save(&asked.name, asked.stop).await? {
                return Ok(made);
            }
        }
    })
    .await?;
    if asked.stop {
        step(core, flow, "stop", || until_stopped(core, &asked.job, &dir, &made)).await?;
    }
    write(&made, "a savepoint")
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
    if row.state == JobState::Running {
        return Ok(Some(row.attempt));
    }
    pause().await;
    Ok(None)
}

/// Waits until a job has stopped with a savepoint.
///
/// # Errors
/// If it goes on instead.
async fn until_stopped(core: &Arc<Core>, id: &str, dir: &Path, made: &Savepoint) -> Result<JobState> {
    loop {
        let row = core.row(id).await?;
        if row.state.is_over() {
            return Ok(row.state);
        }
        if row.state == JobState::Running {
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
    let row = core.row(id).await?;
    if row.state.is_over() {
        return Err(Error::Usage(format!("job {id} is {}: only a job that runs can do this", row.state)));
    }
    let options: RunOptions = read(&row.options, "a job's options")?;
    options.checkpoint_dir.ok_or_else(|| {
        Error::Usage(format!(
            "job {id} keeps no checkpoints, which this needs: submit it with `--checkpoint-dir` and a directory that all agents reach"
        ))
    })
}

/// Lets a job go on with another number of instances.
async fn rescale(core: Arc<Core>, flow: Flow, asked: Asked) -> Result<Value> {
    begin_asked(&core, &flow, OperationKind::Rescale, &asked).await?;
    let outcome = rescaled(&core, &flow, &asked.job, asked.parallelism, None).await;
    ended(&core, &flow, outcome).await
}

/// Stops a job with a checkpoint, and waits until it runs with `parallelism`; on other agents than one that is to leave, if given.
async fn rescaled(core: &Arc<Core>, flow: &Flow, id: &str, parallelism: usize, off: Option<Off>) -> Result<Value> {
    let label = |what: &str| if off.is_some() { format!("{what} {id}") } else { what.to_owned() };
    let (begun, first): (i64, u32) = step(core, flow, &label("validate"), || async {
        checkpoints_of(core, id).await?;
        let row = core.row(id).await?;
        let since = Instant::now();
        while let Some(off) = off
            && let Some(why) = core.hub.no_room(off.epoch, Some(id))
        {
            if since.elapsed() >= off.patience {
                return Err(Error::Usage(format!("job {id} cannot leave its agent, and stays: {why}")));
            }
            pause().await;
        }
        let runs = core.hub.runs();
        let own = runs.values().filter(|r| r.job == id && r.holds_slots()).map(|r| r.assignments.slots.len()).sum::<usize>();
        let free: usize = core.hub.offers(&runs).iter().map(|o| o.free).sum();
        if off.is_none() && free + own < parallelism {
            return Err(Error::Usage(format!(
                "job {id} cannot run with parallelism {parallelism}: {} slots are missing ({free} are free, and it has {own}); start another agent (`agent --join <server>`)",
                parallelism - free - own
            )));
        }
        Ok((now(), row.attempt))
    })
    .await?;
    let moved = |attempt: u32| has_moved(core, id, attempt, first, parallelism, off);
    let asked: Option<u32> = step(core, flow, &label("checkpoint and stop"), || async {
        loop {
            let Some(attempt) = running(core, id).await? else { continue };
            if moved(attempt).await? {
                return Ok(None);
            }
            // if the attempt has failed meanwhile, the next one is asked
            if ask_to_move(core, id, attempt, parallelism).await? {
                return Ok(Some(attempt));
            }
        }
    })
    .await?;
    step(core, flow, &label("redistribute, deploy and resume"), || async {
        let mut asked = asked.unwrap_or(first);
        loop {
            let Some(attempt) = running(core, id).await? else { continue };
            if moved(attempt).await? {
                return Ok(json!({ "parallelism": parallelism, "attempt": attempt, "took_ms": now() - begun }));
            }
            // it has come back as it was, or as somebody else has asked
            if attempt > asked && ask_to_move(core, id, attempt, parallelism).await? {
                asked = attempt;
            }
            pause().await;
        }
    })
    .await
}

/// Whether an attempt later than the `first` is what was asked for.
async fn has_moved(core: &Arc<Core>, id: &str, attempt: u32, first: u32, parallelism: usize, off: Option<Off>) -> Result<bool> {
    let options: RunOptions = read(&core.row(id).await?.options, "a job's options")?;
    let off = off.is_none_or(|off| core.hub.run(id, attempt).is_some_and(|r| r.assignments.slots_on(off.epoch) == 0));
    Ok(attempt > first && options.threads == parallelism && off)
}

/// Asks an attempt to stop with a checkpoint, so that the next has this parallelism; whether it does.
///
/// # Errors
/// If it cannot write that, or the job has ended.
async fn ask_to_move(core: &Arc<Core>, id: &str, attempt: u32, parallelism: usize) -> Result<bool> {
    let (dir, name) = (checkpoints_of(core, id).await?, move_to(parallelism, attempt));
    let Some(run) = core.hub.run(id, attempt) else {
        pause().await;
        return Ok(false);
    };
    // what another job with this directory has left behind
    let old = name.clone();
    blocking(move || match savepoint_names(&dir)?.contains(&old) {
        true => delete_savepoint(&dir, &old),
        false => Ok(()),
    })
    .await?;
    Ok(run.save(&name, true).await?.is_some())
}

/// Begins to move what an agent runs, because a user asked for it with this key, or the agent itself.
pub(in crate::cluster) async fn begin_drain(core: &Arc<Core>, agent: &str, epoch: u64, key: Option<&str>) -> Result<String> {
    let id = key.map_or_else(|| format!("drain-{agent}-{epoch}"), |key| format!("drain-{agent}-{epoch}-{key}"));
    let input = Drained { agent: agent.to_owned(), epoch, asked: key.is_some() };
    core.workflows()?.start(&id, "drain", write(&input, "an operation")?).await?;
    begin_moving(core, &id, agent).await?;
    Ok(id)
}

async fn begin_moving(core: &Core, id: &str, agent: &str) -> Result<()> {
    let input = json!({ "drain": agent });
    patiently(|| begin(core, id, OperationKind::RecoverAgent, None, &input)).await.map(drop)
}

/// Moves what an agent runs, and lets it go.
async fn drain(core: Arc<Core>, flow: Flow, input: Drained) -> Result<Value> {
    begin_moving(&core, flow.id(), &input.agent).await?;
    let outcome = drained(&core, &flow, &input).await;
    ended(&core, &flow, outcome).await
}
async fn drained(core: &Arc<Core>, flow: &Flow, input: &Drained) -> Result<Value> {
    let Drained { agent, epoch, asked } = input;
    let off = Off { epoch: *epoch, patience: if *asked { Duration::ZERO } else { FAREWELL } };
    let jobs: Vec<(String, usize, bool)> = step(core, flow, "find its jobs", || async {
        let ids: Vec<String> =
            core.hub.runs().values().filter(|r| r.holds_slots() && r.assignments.slots_on(*epoch) > 0).map(|r| r.job.clone()).collect();
        let mut jobs = Vec::new();
        for id in ids {
            let options: RunOptions = read(&core.row(&id).await?.options, "a job's options")?;
            jobs.push((id, options.threads, options.checkpoint_dir.is_some()));
        }
        Ok(jobs)
    })
    .await?;
    for (id, parallelism, kept) in &jobs {
        if *kept {
            // a job that ends meanwhile has moved too
            let moved = rescaled(core, flow, id, *parallelism, Some(off)).await;
            if let Err(error) = moved
                && !core.row(id).await?.state.is_over()
            {
                if *asked {
                    core.hub.members().stay(*epoch);
                    return Err(error);
                }
                core.hub.say(Level::Warning, Some(id), Some(agent), error.to_string());
            }
            continue;
        }
        step(core, flow, &format!("begin {id} anew"), || async {
            if let Some(run) = core.hub.run_of(id).filter(|r| r.assignments.slots_on(*epoch) > 0)
                && let Some(lead) = run.lead()
            {
                lead.cancel(Error::io(format!("agent `{agent}`"), "was drained", std::io::ErrorKind::ConnectionReset.into()));
            }
            Ok(())
        })
        .await?;
    }
    step(core, flow, "let it go", || async {
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            let busy = core.hub.runs().values().any(|r| r.holds_slots() && r.assignments.slots_on(*epoch) > 0);
            if !busy || !core.hub.members().get(*epoch).is_some_and(|m| m.standing.holds()) {
                break;
            }
            pause().await;
        }
        // who is gone need not be told
        let _ = core.hub.tell(*epoch, &crate::cluster::wire::ToAgent::Drained);
        Ok(())
    })
    .await?;
    Ok(json!({ "agent": agent, "moved": jobs.len() }))
}
