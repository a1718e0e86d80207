//! A job goes on with another build of the program.
//!
//! Idea: a server of the job's build stops the job with a savepoint (`upgrade`), and the operation goes on until a server of another build leads the store.
//! That looks for such operations when it begins, and takes each job over by a workflow of its own (`take over`): the job's old workflows are given up, its
//! states are compared with the new plan, and it goes on from the savepoint, as the same job. It needs nothing of the first half but the operation: where the
//! old server was killed before the job had stopped, the newest checkpoint is kept as the savepoint.
//!
//! A build does not run the workflows of another: their version names it. So a job that nobody asked to upgrade waits, as it is, for a server of its build.

use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::actions::{begin_asked, running_on, save, until_stopped};
use super::core::{Core, blocking, compiled, now, pause, read, write};
use super::flows::{Asked, Continued, ended, ended_of, step, step_of, version};
use super::{flow_of, goes_on_of, take_over_of};
use crate::cluster::LEASE;
use crate::cluster::durable::{Filter, Flow, State, Workflows};
use crate::cluster::store::{Job as Row, JobFilter, JobState, Level, Operation, OperationKind, OperationState};
use crate::runtime::{RunOptions, Savepoint, keep_newest};
use crate::stream::{Job, JobSpec, build_id};
use crate::{Error, Result};

/// The step in which an operation waits.
pub(crate) const WAITS: &str = "wait for another build";
/// More operations than there are.
const ALL: u32 = 100_000;

/// Stops a job with a savepoint, for another build.
pub(super) async fn upgrade(core: Arc<Core>, flow: Flow, asked: Asked) -> Result<Value> {
    begin_asked(&core, &flow, OperationKind::Upgrade, &asked).await?;
    match stopped(&core, &flow, &asked).await {
        // the operation ends where the job has gone on
        Ok(value) => Ok(value),
        Err(error) => ended(&core, &flow, Err(error)).await,
    }
}

async fn stopped(core: &Arc<Core>, flow: &Flow, asked: &Asked) -> Result<Value> {
    let id = asked.job.as_str();
    let (dir, suspended): (PathBuf, bool) = step(core, flow, "validate", || async {
        let row = core.row(id).await?;
        Ok((upgradable(&row)?, row.state == JobState::Suspended))
    })
    .await?;
    if !suspended {
        let made: Savepoint = step(core, flow, "stop with a savepoint", || save(core, asked, &dir)).await?;
        let state: JobState = step(core, flow, "stop", || until_stopped(core, id, &dir, &made)).await?;
        if state != JobState::Suspended {
            return Err(Error::Usage(format!("job {id} is {state}: there is nothing to upgrade")));
        }
    }
    step(core, flow, WAITS, || async { Ok(()) }).await?;
    core.hub.say(Level::Info, Some(id), None, format!("job {id} waits for a server of another build than {}", core.build.id));
    Ok(json!({ "savepoint": asked.name }))
}

/// The directory of the checkpoints of a job that can be upgraded.
///
/// # Errors
/// If it is over, or keeps none.
pub(in crate::cluster) fn upgradable(row: &Row) -> Result<PathBuf> {
    if row.state.is_over() && row.state != JobState::Suspended {
        return Err(Error::Usage(format!(
            "job {} is {}: only one that is not over, or was stopped with a savepoint, can be upgraded",
            row.id, row.state
        )));
    }
    let options: RunOptions = read(&row.options, "a job's options")?;
    options.checkpoint_dir.ok_or_else(|| {
        Error::Usage(format!("job {} keeps no checkpoints, from which another build could go on: cancel it, and submit it anew", row.id))
    })
}

/// What `take over` is given.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::cluster) struct TakeOver {
    operation: String,
    asked: Asked,
}

/// Begins to take a job of another build over, for an operation, unless that goes on already. What an earlier server has begun may have been given up by
/// one of a third build, and does not count.
pub(in crate::cluster) async fn begin_take_over(core: &Arc<Core>, operation: &str, asked: &Asked) -> Result<()> {
    let (id_prefix, states) = (Some(take_over_of(operation)), vec![State::Queued, State::Running]);
    let filter = Filter { id_prefix, states, name: Some("take over".into()), limit: 0 };
    let begun = core.workflows()?.list(&filter).await?;
    if begun.iter().any(|w| w.version == version(core)) {
        return Ok(());
    }
    let id = format!("{}{}", take_over_of(operation), core.fence);
    let input = TakeOver { operation: operation.to_owned(), asked: asked.clone() };
    core.workflows()?.start(&id, "take over", write(&input, "an operation")?).await
}

/// When a server begins: takes over the jobs of other builds that are to be upgraded, and says what the others wait for.
pub(super) async fn begin_all(core: &Arc<Core>) -> Result<()> {
    let operations = core.store.operations(None, ALL).await?;
    let upgrades = operations.iter().filter(|o| o.kind == OperationKind::Upgrade && o.state == OperationState::Running);
    let mut taken = Vec::new();
    for operation in upgrades {
        let asked: Asked = read(&operation.input, "an operation")?;
        if core.row(&asked.job).await?.build != core.build.id {
            begin_take_over(core, &operation.id, &asked).await?;
            taken.push(asked.job);
        }
    }
    // agents of other builds have gone
    let engine = engine(core).await;
    for (id, _) in engine.recovered().waiting.iter().filter(|(id, _)| id.starts_with("drain-")) {
        engine.cancel(id).await?;
        core.store.end_operation(core.fence, id, None, now()).await?;
    }
    for row in core.store.list_jobs(&JobFilter::default()).await? {
        if row.build == core.build.id || taken.contains(&row.id) {
            continue;
        }
        if row.state.is_over() {
            // it ended, and the server was killed before that was written down everywhere
            if operations.iter().any(|o| runs_on(o, &row.id)) {
                give_up(core, &row.id, "").await?;
            }
            continue;
        }
        if row.state == JobState::Stopping && is_cancelled(&operations, &row.id) {
            cancel_other(core, &row.id).await?;
            continue;
        }
        let why = format!("it is of build {}, and this server is build {}", row.build, core.build.id);
        if matches!(row.state, JobState::Starting | JobState::Running) {
            core.store.change_job(core.fence, &row.id, JobState::Restarting, &why, now()).await?;
        }
        let remedy = "it waits for a server of its build; `job upgrade` lets it go on with this one";
        core.hub.say(Level::Warning, Some(&row.id), None, format!("job {} does not run: {why}. {remedy}", row.id));
    }
    Ok(())
}

/// Whether an operation on this job is not over.
fn runs_on(operation: &Operation, job: &str) -> bool {
    operation.state == OperationState::Running && operation.job.as_deref() == Some(job)
}

/// Whether this job is being cancelled.
fn is_cancelled(operations: &[Operation], job: &str) -> bool {
    operations.iter().any(|o| runs_on(o, job) && o.kind == OperationKind::Cancel)
}

/// The engine, as soon as it is there: workflows that go on begin a moment before.
async fn engine(core: &Core) -> Arc<dyn Workflows> {
    loop {
        if let Some(engine) = core.workflows.get() {
            return Arc::clone(engine);
        }
        pause().await;
    }
}

/// Gives up what servers of other builds have begun with a job, and waits until none of their agents can run it any more.
async fn give_up(core: &Arc<Core>, id: &str, but: &str) -> Result<()> {
    while core.hub.now() < LEASE {
        pause().await;
    }
    let engine = engine(core).await;
    for kind in ["submit", "continue", "cancel", "savepoint", "rescale", "upgrade"] {
        let states = vec![State::Queued, State::Running];
        let filter = Filter { id_prefix: Some(format!("{kind}-{id}")), states, ..Filter::default() };
        for old in engine.list(&filter).await?.into_iter().filter(|w| w.version != version(core)) {
            engine.cancel(&old.id).await?;
            if old.id != but {
                core.store.end_operation(core.fence, &old.id, None, now()).await?;
            }
        }
    }
    // what was to bring an attempt up is no workflow of its own
    let recovers = |o: &Operation| matches!(o.kind, OperationKind::RecoverTask | OperationKind::RecoverAgent);
    let operations = core.store.operations(Some(id), ALL).await?.into_iter();
    for old in operations.filter(|o| o.state == OperationState::Running && recovers(o)) {
        core.store.end_operation(core.fence, &old.id, None, now()).await?;
    }
    let row = core.row(id).await?;
    core.store.release(core.fence, id, row.attempt).await
}

/// Ends a job of another build for good: no server of its build is there to do that.
pub(super) async fn cancel_other(core: &Arc<Core>, id: &str) -> Result<()> {
    give_up(core, id, "").await?;
    core.store.change_job(core.fence, id, JobState::Cancelled, "it was cancelled", now()).await.map(drop)
}

/// A job of another build goes on with this one.
pub(super) async fn take_over(core: Arc<Core>, flow: Flow, input: TakeOver) -> Result<Value> {
    let outcome = taken(&core, &flow, &input).await;
    ended_of(&core, &flow, &input.operation, outcome).await
}

/// A step of it, of which the operation says that it is there.
async fn on<T, Fut>(core: &Arc<Core>, flow: &Flow, input: &TakeOver, name: &str, body: impl Fn() -> Fut + Send + Sync) -> Result<T>
where
    T: Serialize + DeserializeOwned + Send,
    Fut: Future<Output = Result<T>> + Send,
{
    step_of(core, flow, &input.operation, name, body).await
}

async fn taken(core: &Arc<Core>, flow: &Flow, input: &TakeOver) -> Result<Value> {
    let TakeOver { operation, asked } = input;
    let id = asked.job.as_str();
    let (begun, after): (i64, u32) = on(core, flow, input, "take over", || async {
        let begun = now();
        let asked_to_end = core.store.operations(Some(id), ALL).await?;
        let cancelled = is_cancelled(&asked_to_end, id);
        give_up(core, id, operation).await?;
        let row = core.row(id).await?;
        if row.state == JobState::Stopping && cancelled {
            core.store.change_job(core.fence, id, JobState::Cancelled, "it was cancelled", now()).await?;
        }
        upgradable(&core.row(id).await?)?;
        Ok((begun, row.attempt))
    })
    .await?;
    let fits = async {
        let saved: Option<Savepoint> = on(core, flow, input, "keep its state", || async {
            let dir = upgradable(&core.row(id).await?)?;
            let name = asked.name.clone();
            blocking(move || keep_newest(&dir, &name)).await
        })
        .await?;
        on(core, flow, input, "compare", || compare(core, asked, saved.clone())).await
    };
    let from: Option<PathBuf> = match fits.await {
        Ok(from) => from,
        Err(error) => {
            on(core, flow, input, "leave it suspended", || suspend(core, id, error.to_string())).await?;
            return Err(error);
        }
    };
    on(core, flow, input, "begin", || begin(core, asked, after, from.clone())).await?;
    on(core, flow, input, "resume", || async {
        loop {
            let row = core.row(id).await?;
            if row.state == JobState::Finished || (row.attempt > after && running_on(&row)) {
                let state = row.state;
                return Ok(
                    json!({ "state": state, "build": row.build, "attempt": row.attempt, "savepoint": from, "took_ms": now() - begun }),
                );
            }
            if row.state.is_over() {
                let why = row.error.unwrap_or_else(|| format!("it is {}", row.state));
                return Err(Error::Control(format!("job {id} was given to this build, and has ended: {why}")));
            }
            pause().await;
        }
    })
    .await
}

/// The specification of a job with this build's plan.
///
/// # Errors
/// If this build has no such pipeline, or it takes other parameters.
fn rebuilt(spec: JobSpec) -> Result<JobSpec> {
    let plan = Job::named(&spec.pipeline, spec.params.clone())?.plan()?;
    Ok(JobSpec { plan, build: build_id(), ..spec })
}

/// Whether a job can go on with this build: it has the pipeline, sources and sinks, and a place for each state. The savepoint that it goes on from.
async fn compare(core: &Arc<Core>, asked: &Asked, saved: Option<Savepoint>) -> Result<Option<PathBuf>> {
    let row = core.row(&asked.job).await?;
    let spec: JobSpec = read(&row.spec, "a job's specification")?;
    let options: RunOptions = read(&row.options, "a job's options")?;
    let (id, from, may_drop) = (row.id, row.build, asked.drop_state);
    blocking(move || {
        let path = saved.map(|s| s.path).or_else(|| options.from_savepoint.clone());
        let compared = || {
            let spec = rebuilt(spec)?;
            compiled(&spec, &options, options.threads.max(1))?;
            let job = Job::from_spec(&spec)?;
            path.as_ref().map_or(Ok(()), |path| job.check_savepoint(path)?.settle(may_drop))
        };
        match compared() {
            Ok(()) => Ok(path.clone()),
            Err(error) => {
                let kept = path.as_ref().map_or_else(String::new, |p| format!(" Its state is kept in {}.", p.display()));
                Err(Error::Usage(format!(
                    "job {id} of build {from} cannot go on with build {}: {error}\nIt stays suspended.{kept} `job upgrade` again, by a server of a build that fits",
                    build_id()
                )))
            }
        }
    })
    .await
}

/// The job goes on with no build yet.
async fn suspend(core: &Arc<Core>, id: &str, why: String) -> Result<()> {
    let row = core.row(id).await?;
    if !row.state.is_over() {
        core.store.change_job(core.fence, id, JobState::Stopping, "another build cannot go on with it", now()).await?;
        core.store.change_job(core.fence, id, JobState::Suspended, "it can go on from its savepoint", now()).await?;
    }
    core.hub.say(Level::Error, Some(id), None, why);
    Ok(())
}

/// The job is one of this build, and its next attempt begins.
async fn begin(core: &Arc<Core>, asked: &Asked, after: u32, from: Option<PathBuf>) -> Result<()> {
    let id = asked.job.as_str();
    let engine = engine(core).await;
    // done, and the server was killed before that was noted: the job is on its way. What another build has begun was given up
    let prefix = format!("{}{}-", goes_on_of(id), after + 1);
    let filter = Filter { id_prefix: Some(prefix.clone()), ..Filter::default() };
    if engine.list(&filter).await?.iter().any(|w| w.version == version(core) && w.state != State::Cancelled) {
        return Ok(());
    }
    let row = core.row(id).await?;
    // it may have been cancelled meanwhile; the store refuses to begin one that is after this
    upgradable(&row)?;
    let spec: JobSpec = read(&row.spec, "a job's specification")?;
    let mut options: RunOptions = read(&row.options, "a job's options")?;
    (options.from_savepoint, options.allow_dropped_state) = (from, asked.drop_state);
    let spec = blocking(move || rebuilt(spec)).await?;
    let (spec_json, options) = (write(&spec, "a job's specification")?, write(&options, "a job's options")?);
    core.store.respecify(core.fence, id, &spec.build, &spec_json, &options, now()).await?;
    if row.state == JobState::Stopping {
        core.store.change_job(core.fence, id, JobState::Suspended, "it goes on with another build", now()).await?;
    }
    core.store.change_job(core.fence, id, JobState::Starting, &format!("it goes on with build {}", spec.build), now()).await?;
    // how often it may fail is what its submission said
    let submitted = engine.show(&flow_of(id)).await?;
    let restarts = submitted.and_then(|s| s.input.get("submission")?.get("restarts")?.as_u64()).and_then(|n| u32::try_from(n).ok());
    let input = Continued { job: id.to_owned(), after, restarts };
    // two that are taken over at once begin one
    engine.start(&format!("{prefix}{}", core.fence), "continue", write(&input, "an operation")?).await
}
