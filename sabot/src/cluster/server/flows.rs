//! The server's workflows: what becomes of a job, step by step, whoever is killed.
//!
//! `submit` lives as long as its job. Its first steps are persist, optimise and compile; then each attempt is assigned, deployed, activated, monitored and
//! fenced, and what follows is decided by how it ended. A server that was killed meanwhile finds no trace of the attempt in its memory, so the attempt has
//! ended for the workflow; the next one begins once the agents' leases are over. What else is asked of a job is in `actions`, `upgrade` and `drain`.
//!
//! All decisions are made of recorded values: of steps, whose bodies may be repeated.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attempt::{self, Assign, Going};
use super::core::{Core, TRIES, blocking, compiled, now, patiently, pause, read, write};
use super::decide::{Decision, Next, RESTARTS, decide};
use super::run::{End, Failing, may_pass};
use super::{actions, drain, upgrade};
use crate::cluster::api::Submission;
use crate::cluster::durable::{Definitions, Flow, Retry};
use crate::cluster::store::{JobFilter, JobLine, JobState, Level, NewJob, Operation, OperationKind};
use crate::runtime::RunOptions;
use crate::runtime::share::StageShape;
use crate::stream::{Job, JobSpec};
use crate::{Error, Result};

/// Changed when a workflow takes other steps.
const VERSION: &str = "sabot-2";
/// The version of a build's workflows: a build does not run those of another, whose jobs are not its own.
pub(in crate::cluster) fn version(core: &Core) -> String {
    format!("{VERSION} {}", core.build.id)
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
    /// Whether state may be lost for which there is no place.
    #[serde(default)]
    pub(in crate::cluster) drop_state: bool,
}

impl Asked {
    /// Of a job, and nothing else.
    pub(in crate::cluster) fn of(job: &str) -> Self {
        Asked { job: job.to_owned(), name: String::new(), stop: false, parallelism: 0, drop_state: false }
    }
}

/// What a job goes on with under another build.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Continued {
    pub(super) job: String,
    /// The last attempt before.
    pub(super) after: u32,
    /// How often it may be started again after something failed.
    pub(super) restarts: Option<u32>,
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

/// All of them.
pub(super) fn definitions(core: &Arc<Core>) -> Definitions {
    let submit = with(core, |core, flow, input| Box::pin(submit(core, flow, input)));
    let cancel = with(core, |core, flow, input| Box::pin(actions::cancel(core, flow, input)));
    let savepoint = with(core, |core, flow, input| Box::pin(actions::savepoint(core, flow, input)));
    let rescale = with(core, |core, flow, input| Box::pin(actions::rescale(core, flow, input)));
    let drain = with(core, |core, flow, input| Box::pin(drain::drain(core, flow, input)));
    let goes_on = with(core, |core, flow, input| Box::pin(goes_on(core, flow, input)));
    let upgrade = with(core, |core, flow, input| Box::pin(upgrade::upgrade(core, flow, input)));
    let take_over = with(core, |core, flow, input| Box::pin(upgrade::take_over(core, flow, input)));
    Definitions::new(version(core))
        .with("submit", submit)
        .with("cancel", cancel)
        .with("savepoint", savepoint)
        .with("rescale", rescale)
        .with("drain", drain)
        .with("continue", goes_on)
        .with("upgrade", upgrade)
        .with("take over", take_over)
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

/// Runs a step of the operation that bears its workflow's id, which says so. What may pass by itself is tried again: the store is busy, say.
pub(super) async fn step<T, Fut>(core: &Arc<Core>, flow: &Flow, name: &str, body: impl Fn() -> Fut + Send + Sync) -> Result<T>
where
    T: Serialize + serde::de::DeserializeOwned + Send,
    Fut: Future<Output = Result<T>> + Send,
{
    step_of(core, flow, flow.id(), name, body).await
}

/// Runs a step of an operation, which says so.
pub(super) async fn step_of<T, Fut>(
    core: &Arc<Core>,
    flow: &Flow,
    operation: &str,
    name: &str,
    body: impl Fn() -> Fut + Send + Sync,
) -> Result<T>
where
    T: Serialize + serde::de::DeserializeOwned + Send,
    Fut: Future<Output = Result<T>> + Send,
{
    flow.try_step(name, Retry::transient(TRIES), || {
        let work = body();
        async {
            core.store.progress(core.fence, operation, name, now()).await?;
            work.await
        }
    })
    .await
}

/// Ends the operation that bears its workflow's id with what the workflow ends with.
pub(super) async fn ended(core: &Arc<Core>, flow: &Flow, outcome: Result<Value>) -> Result<Value> {
    ended_of(core, flow, flow.id(), outcome).await
}

/// Ends an operation with what a workflow ends with.
pub(super) async fn ended_of(core: &Arc<Core>, flow: &Flow, operation: &str, outcome: Result<Value>) -> Result<Value> {
    let said = outcome.as_ref().map_err(ToString::to_string);
    // the workflow is not over: it runs again, or was cancelled
    if flow.broken() {
        return outcome;
    }
    let end = said.as_ref().map_err(String::as_str).copied();
    patiently(|| core.store.end_operation(core.fence, operation, Some(end), now())).await?;
    outcome
}

/// A job from its submission to its end.
async fn submit(core: Arc<Core>, flow: Flow, input: Submitted) -> Result<Value> {
    let outcome = submitted(&core, &flow, &input).await;
    over(&core, &flow, &input.job, outcome).await
}

/// A job that goes on with this build, to its end.
async fn goes_on(core: Arc<Core>, flow: Flow, input: Continued) -> Result<Value> {
    // it keeps checkpoints, so it does not lose its place
    let job = Attempts { id: &input.job, after: input.after, endless: false, limit: input.restarts.unwrap_or(RESTARTS) };
    let outcome = attempts(&core, &flow, &job).await;
    over(&core, &flow, &input.job, outcome).await
}

/// The workflow of a job ends.
async fn over(core: &Arc<Core>, flow: &Flow, job: &str, outcome: Result<Value>) -> Result<Value> {
    // the job has not ended then: the workflow runs again
    if flow.broken() {
        return outcome;
    }
    patiently(|| async {
        if let Err(error) = &outcome {
            fail(core, job, error).await?;
        }
        // an operation whose job failed before it ran has failed too
        if let Some(row) = core.store.job(job).await?.filter(|r| r.state == JobState::Failed) {
            let sentence = row.error.unwrap_or_else(|| "the job failed".into());
            core.store.end_operation(core.fence, flow.id(), Some(Err(&sentence)), now()).await?;
        }
        Ok(())
    })
    .await?;
    ended(core, flow, outcome).await
}

/// Fails a job that cannot be brought further: nothing of it runs on, and its slots are free, before it is said to have failed.
pub(super) async fn fail(core: &Arc<Core>, id: &str, error: &Error) -> Result<()> {
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

async fn submitted(core: &Arc<Core>, flow: &Flow, input: &Submitted) -> Result<Value> {
    flow.try_step("persist", Retry::transient(TRIES), || persist(core, flow, input)).await?;
    step(core, flow, "optimise", || optimise(core, input)).await?;
    let limit = input.submission.restarts.unwrap_or(RESTARTS);
    attempts(core, flow, &Attempts { id: &input.job, after: 0, endless: endless(&input.submission), limit }).await
}

/// The attempts to run a job.
struct Attempts<'a> {
    id: &'a str,
    /// The last one before.
    after: u32,
    endless: bool,
    limit: u32,
}

async fn attempts(core: &Arc<Core>, flow: &Flow, job: &Attempts<'_>) -> Result<Value> {
    let Attempts { id, after, endless, limit } = *job;
    let (mut attempt, mut failures, mut checkpoint, mut before) = (after, 0_u32, None, Vec::<String>::new());
    loop {
        attempt += 1;
        let name = |what: &str| if attempt == 1 { what.to_owned() } else { format!("{what} {attempt}") };
        let ready: Ready = step(core, flow, &name("compile"), || compile(core, flow.id(), id, attempt)).await?;
        let (parallelism, assigned) = match ready {
            Ready::Compiled(Compiled { parallelism, shapes }) => {
                let assign = || attempt::assign(core, flow.id(), id, attempt, parallelism, &shapes, &before);
                (parallelism, step(core, flow, &name("assign"), assign).await?)
            }
            Ready::Over(end) => (0, Assign::Over(end)),
        };
        let end = match assigned {
            Assign::Placed(assignments) => {
                before = assignments.by_slot();
                let mut going: Going =
                    step(core, flow, &name("deploy"), || attempt::deploy(core, flow.id(), id, attempt, parallelism)).await?;
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
async fn compile(core: &Arc<Core>, flow: &str, id: &str, attempt: u32) -> Result<Ready> {
    let row = core.row(id).await?;
    let (spec, mut options) = core.job_of(&row)?;
    if options.threads == 0 {
        while core.gathers(flow) || core.expects_agents().await? {
            pause().await;
        }
        let free = core.hub.free(&core.hub.runs(), None);
        options.threads = free.saturating_sub(awaited(core, id).await?).max(1);
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
            Ok(Ready::Over(End::Failed { error: error.to_string(), again, what: Failing::Task }))
        }
    }
}

/// The slots that other jobs wait for: a job that takes what is free leaves them these.
async fn awaited(core: &Core, but: &str) -> Result<usize> {
    let filter = JobFilter { states: vec![JobState::Starting, JobState::Restarting], ..JobFilter::default() };
    let has_none = |id: &str| core.hub.run_of(id).is_none_or(|run| !run.holds_slots());
    let waits = |job: &JobLine| job.id != but && job.build == core.build.id && has_none(&job.id);
    let mut slots = 0;
    for job in core.store.list_jobs(&filter).await?.into_iter().filter(waits) {
        let options: RunOptions = read(&job.options, "a job's options")?;
        slots += options.threads;
    }
    Ok(slots)
}

/// Whether a job cannot begin anew without losing its place.
fn endless(submission: &Submission) -> bool {
    let spec = &submission.spec;
    let job = Job::from_spec(spec);
    submission.options.checkpoint_dir.is_none() && job.map(|j| j.may_be_endless()).unwrap_or(false)
}
