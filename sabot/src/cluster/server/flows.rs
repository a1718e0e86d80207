//! The server's workflows: what becomes of a job, step by step, whoever is killed.
//!
//! `submit` lives as long as its job. Its first steps are persist, optimise and compile; then each attempt is assigned, deployed, activated, monitored and
//! fenced, and what follows is decided by how it ended. A server that was killed meanwhile finds no trace of the attempt in its memory, so the attempt has
//! ended for the workflow; the next one begins once the agents' leases are over. `cancel`, `savepoint`, `rescale` and `drain` tell the job, and wait for what
//! its own workflow makes of it.
//!
//! All decisions are made of recorded values: of steps, whose bodies may be repeated.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attempt::{self, Assign, Going};
use super::core::{Core, blocking, compiled, given, now, pause, read, write};
use super::run::{End, Run, Stage};
use crate::cluster::api::Submission;
use crate::cluster::door;
use crate::cluster::durable::{Definitions, Flow};
use crate::cluster::store::{JobState, Level, NewJob, Operation, OperationKind};
use crate::runtime::share::{Lead, StageShape};
use crate::runtime::{RunOptions, delete_savepoint, newest_checkpoint};
use crate::stream::{Job, JobSpec};
use crate::{Error, Result};

/// Savepoints with which a job stops to go on elsewhere, or otherwise; a parallelism follows. They are deleted again.
const MOVES: &str = "sabot-move-";
/// Attempts that fail one after the other, without a checkpoint between them, until the job fails.
pub(super) const RESTARTS: u32 = 10;
/// The wait before the second attempt; doubled for each further one, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Changed when a workflow takes other steps.
const VERSION: &str = "sabot-1";

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
}

/// A job's parallelism in an attempt, and its stages.
#[derive(Clone, Serialize, Deserialize)]
struct Compiled {
    parallelism: usize,
    shapes: Vec<StageShape>,
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

/// Runs a step of an operation, which says so.
async fn step<T, Fut>(core: &Arc<Core>, flow: &Flow, name: &str, body: impl Fn() -> Fut + Send + Sync) -> Result<T>
where
    T: Serialize + serde::de::DeserializeOwned + Send,
    Fut: Future<Output = Result<T>> + Send,
{
    flow.step(name, || {
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
    let end = said.as_ref().map_err(String::as_str).copied();
    core.store.end_operation(core.fence, flow.id(), Some(end), now()).await?;
    outcome
}

/// A job from its submission to its end.
async fn submit(core: Arc<Core>, flow: Flow, input: Submitted) -> Result<Value> {
    let outcome = job(&core, &flow, &input).await;
    if let Err(error) = &outcome {
        // what could not even be tried
        let row = core.store.job(&input.job).await?;
        if row.is_some_and(|r| !r.state.is_over()) {
            let sentence = error.to_string();
            core.store.change_job(core.fence, &input.job, JobState::Failed, &sentence, now()).await?;
            core.hub.say(Level::Error, Some(&input.job), None, format!("job {} failed: {sentence}", input.job));
        }
    }
    // an operation whose job failed before it ran has failed too
    if let Some(row) = core.store.job(&input.job).await?.filter(|r| r.state == JobState::Failed) {
        let sentence = row.error.unwrap_or_else(|| "the job failed".into());
        core.store.end_operation(core.fence, flow.id(), Some(Err(&sentence)), now()).await?;
    }
    ended(&core, &flow, outcome).await
}

async fn job(core: &Arc<Core>, flow: &Flow, input: &Submitted) -> Result<Value> {
    let id = input.job.as_str();
    flow.step("persist", || persist(core, flow, input)).await?;
    step(core, flow, "optimise", || optimise(core, input)).await?;
    let endless = endless(&input.submission);
    let (mut attempt, mut failures, mut checkpoint, mut before) = (0_u32, 0_u32, None, Vec::<String>::new());
    loop {
        attempt += 1;
        let name = |what: &str| if attempt == 1 { what.to_owned() } else { format!("{what} {attempt}") };
        let compiled: Compiled = step(core, flow, &name("compile"), || compile(core, id)).await?;
        let assigned: Assign =
            step(core, flow, &name("assign"), || attempt::assign(core, id, attempt, compiled.parallelism, &compiled.shapes, &before))
                .await?;
        let end = match assigned {
            Assign::Placed(assignments) => {
                before = assignments.by_slot();
                let mut going: Going =
                    step(core, flow, &name("deploy"), || attempt::deploy(core, id, attempt, compiled.parallelism)).await?;
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

/// The parallelism and the stages of the next attempt.
async fn compile(core: &Arc<Core>, id: &str) -> Result<Compiled> {
    let row = core.row(id).await?;
    let (spec, mut options) = core.job_of(&row)?;
    if options.threads == 0 {
        let free: usize = core.hub.offers(&core.hub.runs()).iter().map(|o| o.free).sum();
        options.threads = free.max(1);
        core.store.respecify(core.fence, id, &row.build, &row.spec, &write(&options, "a job's options")?, now()).await?;
    }
    let parallelism = options.threads;
    blocking(move || Ok(Compiled { parallelism, shapes: compiled(&spec, &options, parallelism)? })).await
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
    let Decision { id, attempt, failures, checkpoint, endless, limit, end } = *at;
    let row = core.row(id).await?;
    let stopping = row.state == JobState::Stopping;
    let (_, mut options) = core.job_of(&row)?;
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
        End::Suspended(name) => match name.strip_prefix(MOVES).and_then(|rest| rest.split('-').next()?.parse::<usize>().ok()) {
            Some(parallelism) if !stopping => {
                options.threads = parallelism;
                let options_json = write(&options, "a job's options")?;
                core.store.respecify(core.fence, id, &row.build, &row.spec, &options_json, now()).await?;
                enter(JobState::Starting, &format!("it goes on with parallelism {parallelism}")).await?;
                if let Some(dir) = options.checkpoint_dir.clone() {
                    let name = name.clone();
                    // it was only made to stop; the checkpoint of its number is what the job goes on from
                    let _ = blocking(move || delete_savepoint(&dir, &name)).await;
                }
                Ok(Next::Attempt { failures: 0, wait_ms: 0, checkpoint })
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
            let dir = options.checkpoint_dir.clone();
            let newest = match dir {
                Some(dir) => blocking(move || newest_checkpoint(&dir)).await.unwrap_or(checkpoint),
                None => None,
            };
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

/// The operation that brings an attempt up after one that failed.
pub(super) fn recovery(job: &str, attempt: u32) -> String {
    format!("recover-{job}-{attempt}")
}

/// Ends a job for good.
async fn cancel(core: Arc<Core>, flow: Flow, asked: Asked) -> Result<Value> {
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
    let outcome = saved(&core, &flow, &asked).await;
    ended(&core, &flow, outcome).await
}
async fn saved(core: &Arc<Core>, flow: &Flow, asked: &Asked) -> Result<Value> {
    let dir = step(core, flow, "validate", || async { checkpoints_of(core, &asked.job).await }).await?;
    let made: Value = step(core, flow, "save", || async {
        loop {
            // made before the server was killed, or by an attempt that has ended since
            let (at, name) = (dir.clone(), asked.name.clone());
            let known = blocking(move || Ok(crate::runtime::savepoints(&at)?.into_iter().flatten().find(|s| s.name == name))).await?;
            if let Some(found) = known {
                return write(&found, "a savepoint");
            }
            let Some((run, lead)) = led(core, &asked.job).await? else { continue };
            match given(lead, &asked.name, asked.stop).await {
                Ok(made) => return write(&made, "a savepoint"),
                // the attempt has failed meanwhile: the next one is asked
                Err(e) if matches!(run.stage(), Stage::Over(End::Failed { .. })) => drop(e),
                Err(e) => return Err(e),
            }
        }
    })
    .await?;
    if asked.stop {
        step(core, flow, "stop", || until_over(core, &asked.job)).await?;
    }
    Ok(made)
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

/// Waits until a job runs and is led here: its run, and the lead. None if it is not yet so: to be asked again.
///
/// # Errors
/// If it is over.
async fn led(core: &Arc<Core>, id: &str) -> Result<Option<(Arc<Run>, Arc<Lead>)>> {
    let Some(attempt) = running(core, id).await? else { return Ok(None) };
    let run = core.hub.run(id, attempt);
    if let Some(found) = run.and_then(|run| run.lead().map(|lead| (run, lead))) {
        return Ok(Some(found));
    }
    // its attempt has ended, or was a killed server's: that the job does not run is written down in a moment
    pause().await;
    Ok(None)
}

async fn until_over(core: &Arc<Core>, id: &str) -> Result<JobState> {
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
    let options: RunOptions = read(&row.options, "a job's options")?;
    options.checkpoint_dir.ok_or_else(|| {
        Error::Usage(format!(
            "job {id} keeps no checkpoints, which this needs: submit it with `--checkpoint-dir` and a directory that all agents reach"
        ))
    })
}

/// Lets a job go on with another number of instances.
async fn rescale(core: Arc<Core>, flow: Flow, asked: Asked) -> Result<Value> {
    let outcome = rescaled(&core, &flow, &asked.job, asked.parallelism, None).await;
    ended(&core, &flow, outcome).await
}

/// Stops a job with a checkpoint, and waits until it runs with `parallelism`; on other agents than that of the epoch `off`, if given.
async fn rescaled(core: &Arc<Core>, flow: &Flow, id: &str, parallelism: usize, off: Option<u64>) -> Result<Value> {
    let label = |what: &str| if off.is_some() { format!("{what} {id}") } else { what.to_owned() };
    let (begun, first): (i64, u32) = step(core, flow, &label("validate"), || async {
        checkpoints_of(core, id).await?;
        let row = core.row(id).await?;
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
    let moved = |attempt: u32| match off {
        None => attempt > first,
        Some(epoch) => core.hub.run(id, attempt).is_some_and(|r| r.attempt > first && r.assignments.slots_on(epoch) == 0),
    };
    step(core, flow, &label("checkpoint and stop"), || async {
        loop {
            let row = core.row(id).await?;
            let options: RunOptions = read(&row.options, "a job's options")?;
            // an agent that goes takes no other parallelism back with it
            let wanted = if off.is_some() { options.threads } else { parallelism };
            if row.attempt > first && options.threads == wanted {
                return Ok(());
            }
            let Some((run, lead)) = led(core, id).await? else { continue };
            let name = format!("{MOVES}{wanted}-{}", run.attempt);
            match given(lead, &name, true).await {
                // of two that stop one attempt, the job goes on as one of them says: the other asks the next attempt
                Ok(_) => pause().await,
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

/// Begins to move what an agent runs.
pub(in crate::cluster) async fn begin_drain(core: &Arc<Core>, agent: &str, epoch: u64) -> Result<String> {
    let id = format!("drain-{agent}-{epoch}");
    begin(core, &id, OperationKind::RecoverAgent, None, &json!({ "drain": agent })).await?;
    core.workflows()?.start(&id, "drain", write(&Drained { agent: agent.to_owned(), epoch }, "an operation")?).await?;
    Ok(id)
}

/// Moves what an agent runs, and lets it go.
async fn drain(core: Arc<Core>, flow: Flow, input: Drained) -> Result<Value> {
    let outcome = drained(&core, &flow, &input).await;
    ended(&core, &flow, outcome).await
}
async fn drained(core: &Arc<Core>, flow: &Flow, input: &Drained) -> Result<Value> {
    let Drained { agent, epoch } = input;
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
            let _ = rescaled(core, flow, id, *parallelism, Some(*epoch)).await;
            continue;
        }
        step(core, flow, &format!("begin {id} anew"), || async {
            if let Some(run) = core.hub.run_of(id).filter(|r| r.assignments.slots_on(*epoch) > 0)
                && let Some(lead) = run.lead()
            {
                lead.cancel(Error::io(format!("agent `{agent}`"), "leaves", std::io::ErrorKind::ConnectionReset.into()));
            }
            Ok(())
        })
        .await?;
    }
    step(core, flow, "let it go", || async {
        let deadline = door::now() + Duration::from_secs(60);
        while door::now() < deadline {
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
