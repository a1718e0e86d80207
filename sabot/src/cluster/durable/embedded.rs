//! The engine on SQLite: the crate `durare`, in the file of the [control store](super::super::store).
//!
//! Cost, one idle machine with an SSD: see `docs/cluster.md`, "Control store". Recovery, resume and fork are seen within 0.1 s.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use durare::{DurableContext, DurableEngine, ErrorCode, ListFilter, SqliteProvider, StateProvider, WorkflowOptions, WorkflowStatus};
use serde_json::Value;
use sqlx::SqlitePool;

use super::running::{Ended, Running};
use super::workflows::{is_a, over, step_number, unstick, wait};
use super::{Body, Definitions, Filter, Flow, Pending, Recovery, Retry, State, StepSummary, Steps, Summary, Workflows};
use crate::sync::lock;
use crate::{Error, Result};

/// The one process that runs workflows of a file at a time.
const EXECUTOR: &str = "server";
/// What the environment may say instead of the program, which would hide unfinished workflows.
const OVERRIDES: [&str; 2] = ["DBOS__APPVERSION", "DBOS__VMID"];
/// How long a stop waits for bodies that it has dropped already.
const DRAIN: Duration = Duration::from_secs(10);

pub(super) struct Embedded {
    engine: DurableEngine,
    running: Arc<Running>,
    recovered: Recovery,
}

fn failed(what: &str, e: &durare::Error) -> Error {
    match e {
        durare::Error::NonExistentWorkflow(id) | durare::Error::UnknownWorkflow(id) => {
            Error::Control(format!("there is no workflow `{id}`"))
        }
        e => Error::Control(format!("durable workflows cannot {what}: {e}")),
    }
}

impl Embedded {
    pub(super) async fn open(pool: SqlitePool, definitions: &Definitions) -> Result<Self> {
        if let Some(name) = OVERRIDES.iter().find(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty())) {
            return Err(Error::usage(format!(
                "the variable {name} of the environment is DBOS's, and would hide unfinished workflows: remove it"
            )));
        }
        let running = Arc::new(Running::default());
        let provider = Arc::new(SqliteProvider::from_pool(pool).with_serializer(durare::Serializer::Portable));
        let mut builder = DurableEngine::builder(provider as Arc<dyn StateProvider>);
        builder.app_version(definitions.version()).executor_id(EXECUTOR).recover_on_launch(false).max_recovery_attempts(i32::MAX);
        for (name, function) in definitions.functions() {
            let (function, running) = (Arc::clone(function), Arc::clone(&running));
            builder.register(name, move |context: DurableContext, input: Value| {
                let (function, running) = (Arc::clone(&function), Arc::clone(&running));
                async move {
                    let id = context.workflow_id().to_owned();
                    let steps = Arc::new(Context { id: id.clone(), context, heard: Mutex::default() });
                    let body = function(Flow::new(Arc::clone(&steps) as Arc<dyn Steps>), input);
                    let ended = running.run(&id, body).await;
                    match (ended, steps.heard()) {
                        (Ended::Cancelled, _) => Err(durare::Error::Cancelled(id)),
                        (Ended::Stopped, _) => Err(durare::Error::RecoveryRequired(Arc::new(durare::Error::app("the server stopped")))),
                        (Ended::With(_), Some(heard)) => Err(heard),
                        (Ended::With(ended), None) => ended.map_err(|e| durare::Error::app(e.to_string())),
                    }
                }
            });
        }
        let engine = builder.build().await.map_err(|e| failed("be opened", &e))?;
        let unfinished = ListFilter {
            status: vec![durare::STATUS_PENDING.into(), durare::STATUS_ENQUEUED.into(), durare::STATUS_DELAYED.into()],
            load_input: false,
            load_output: false,
            ..ListFilter::default()
        };
        let unfinished = engine.list_workflows(&unfinished).await.map_err(|e| failed("be listed", &e))?;
        let recovered = definitions.recovers(unfinished.into_iter().map(|w| (w.id, w.name, w.app_version)));
        engine.launch().await.map_err(|e| failed("begin", &e))?;
        engine.recover().await.map_err(|e| failed("be recovered", &e))?;
        let mut opened = Embedded { engine, running, recovered };
        opened.recovered.resumed.extend(unstick(&opened, definitions).await?);
        Ok(opened)
    }
    async fn status(&self, id: &str) -> Result<Option<WorkflowStatus>> {
        let filter = ListFilter { workflow_ids: vec![id.to_owned()], ..ListFilter::default() };
        Ok(self.engine.list_workflows(&filter).await.map_err(|e| failed("be read", &e))?.pop())
    }
    async fn known(&self, id: &str) -> Result<WorkflowStatus> {
        self.status(id).await?.ok_or_else(|| Error::Control(format!("there is no workflow `{id}`")))
    }
}

fn state(word: &str) -> State {
    match word {
        durare::STATUS_SUCCESS => State::Done,
        durare::STATUS_ERROR => State::Failed,
        durare::STATUS_CANCELLED => State::Cancelled,
        durare::STATUS_ENQUEUED | durare::STATUS_DELAYED => State::Queued,
        durare::STATUS_MAX_RECOVERY_ATTEMPTS_EXCEEDED => State::Stuck,
        _ => State::Running,
    }
}

fn words(state: State) -> &'static [&'static str] {
    match state {
        State::Done => &[durare::STATUS_SUCCESS],
        State::Failed => &[durare::STATUS_ERROR],
        State::Cancelled => &[durare::STATUS_CANCELLED],
        State::Queued => &[durare::STATUS_ENQUEUED, durare::STATUS_DELAYED],
        State::Stuck => &[durare::STATUS_MAX_RECOVERY_ATTEMPTS_EXCEEDED],
        State::Running => &[durare::STATUS_PENDING],
    }
}

fn summary(status: WorkflowStatus) -> Summary {
    Summary {
        state: state(&status.status),
        id: status.id,
        name: status.name,
        version: status.app_version,
        input: status.input,
        output: status.output,
        error: status.error,
        forked_from: status.forked_from,
        created: status.created_at.timestamp_millis(),
        updated: status.updated_at.timestamp_millis(),
    }
}

impl Workflows for Embedded {
    fn recovered(&self) -> &Recovery {
        &self.recovered
    }
    fn start<'a>(&'a self, id: &'a str, name: &'a str, input: Value) -> Pending<'a, ()> {
        Box::pin(async move {
            let started = self.engine.start::<_, Value>(name, input, WorkflowOptions::with_id(id)).await;
            match started {
                Err(durare::Error::UnknownWorkflow(_)) => return Err(Error::Control(format!("no workflow is defined as `{name}`"))),
                started => drop(started.map_err(|e| failed("start one", &e))?),
            }
            is_a(id, &self.known(id).await?.name, name)
        })
    }
    fn outcome<'a>(&'a self, id: &'a str) -> Pending<'a, Value> {
        Box::pin(wait(self, id))
    }
    fn send<'a>(&'a self, id: &'a str, topic: &'a str, message: Value, key: Option<&'a str>) -> Pending<'a, ()> {
        Box::pin(async move {
            let sent = match key {
                Some(key) => self.engine.send_with_idempotency_key(id, message, topic, key).await,
                None => self.engine.send(id, message, topic).await,
            };
            sent.map_err(|e| failed("send", &e))
        })
    }
    fn event<'a>(&'a self, id: &'a str, key: &'a str, patience: Duration) -> Pending<'a, Option<Value>> {
        Box::pin(async move { self.engine.get_event(id, key, patience).await.map_err(|e| failed("read an event", &e)) })
    }
    fn cancel<'a>(&'a self, id: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            self.engine.cancel_workflow(id).await.map_err(|e| failed("be cancelled", &e))?;
            self.running.cancel(id).await;
            Ok(())
        })
    }
    fn resume<'a>(&'a self, id: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            if matches!(state(&self.known(id).await?.status), State::Cancelled | State::Stuck) {
                self.running.cancel(id).await;
                self.engine.resume_workflow::<Value>(id).await.map_err(|e| failed("be resumed", &e))?;
            }
            Ok(())
        })
    }
    fn fork<'a>(&'a self, id: &'a str, from: u32, new: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            if self.status(new).await?.is_some() {
                return Ok(());
            }
            let from = step_number(id, from)?;
            self.engine.fork_workflow::<Value>(id, from, WorkflowOptions::with_id(new)).await.map_err(|e| failed("be forked", &e))?;
            Ok(())
        })
    }
    fn show<'a>(&'a self, id: &'a str) -> Pending<'a, Option<Summary>> {
        Box::pin(async move { Ok(self.status(id).await?.map(summary)) })
    }
    fn steps<'a>(&'a self, id: &'a str) -> Pending<'a, Vec<StepSummary>> {
        Box::pin(async move {
            let steps = self.engine.get_workflow_steps(id).await.map_err(|e| failed("be read", &e))?;
            let step = |s: durare::StepInfo| StepSummary {
                number: u32::try_from(s.step_id).unwrap_or_default(),
                name: s.name,
                output: s.output,
                error: s.error,
                started: s.started_at.map(|t| t.timestamp_millis()),
                finished: s.completed_at.map(|t| t.timestamp_millis()),
            };
            let mut steps: Vec<_> = steps.into_iter().map(step).collect();
            steps.sort_by_key(|s| s.number);
            Ok(steps)
        })
    }
    fn list<'a>(&'a self, filter: &'a Filter) -> Pending<'a, Vec<Summary>> {
        Box::pin(async move {
            let filter = ListFilter {
                workflow_id_prefix: filter.id_prefix.iter().cloned().collect(),
                name: filter.name.iter().cloned().collect(),
                status: filter.states.iter().flat_map(|s| words(*s)).map(|w| (*w).to_owned()).collect(),
                limit: (filter.limit > 0).then(|| i64::try_from(filter.limit).unwrap_or(i64::MAX)),
                sort_desc: true,
                ..ListFilter::default()
            };
            let found = self.engine.list_workflows(&filter).await.map_err(|e| failed("be listed", &e))?;
            Ok(found.into_iter().map(summary).collect())
        })
    }
    fn forget<'a>(&'a self, ids: &'a [String]) -> Pending<'a, bool> {
        Box::pin(async move {
            let (over, all) = over(self, ids).await?;
            self.engine.delete_workflows(&over, false).await.map_err(|e| failed("be forgotten", &e))?;
            Ok(all)
        })
    }
    fn stop(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            // first nothing new begins, so that a body that is dropped is not begun again; that waits for no body
            self.engine.shutdown(Duration::ZERO).await.map_err(|e| failed("stop", &e))?;
            self.running.stop().await;
            self.engine.shutdown(DRAIN).await.map_err(|e| failed("stop", &e))
        })
    }
}

/// The steps of one run of a workflow.
struct Context {
    id: String,
    context: DurableContext,
    /// The engine's own error, which ends the run whatever its function makes of it.
    heard: Mutex<Option<durare::Error>>,
}
impl Context {
    fn heard(&self) -> Option<durare::Error> {
        lock(&self.heard).take()
    }
    /// An error of a step: what was recorded stays with the function, the engine's own is kept for the end.
    fn hear(&self, what: &str, e: durare::Error) -> Error {
        if e.code() == ErrorCode::Application {
            return Error::Control(e.to_string());
        }
        let error = Error::Control(format!("workflow `{}` cannot {what}: {e}", self.id));
        lock(&self.heard).get_or_insert(e);
        error
    }
}
impl Steps for Context {
    fn id(&self) -> &str {
        &self.id
    }
    fn broken(&self) -> bool {
        use ErrorCode::{Database, RecoveryRequired, WorkflowCancelled, WorkflowConflict};
        // other errors of the engine are recorded as the end of the workflow
        let code = lock(&self.heard).as_ref().map(durare::Error::code);
        code.is_some_and(|code| matches!(code, RecoveryRequired | Database | WorkflowCancelled | WorkflowConflict))
    }
    fn step<'a>(&'a self, name: &'a str, retry: Retry, body: Body<'a>) -> Pending<'a, Value> {
        let step = self.context.step(name, move || async move { retry.run(body).await.map_err(|e| durare::Error::app(e.to_string())) });
        Box::pin(async move { step.await.map_err(|e| self.hear(&format!("take step `{name}`"), e)) })
    }
    fn sleep(&self, time: Duration) -> Pending<'_, ()> {
        let sleep = self.context.sleep(time);
        Box::pin(async move { sleep.await.map_err(|e| self.hear("wait", e)) })
    }
    fn recv<'a>(&'a self, topic: &'a str, patience: Duration) -> Pending<'a, Option<Value>> {
        let recv = self.context.recv(topic, patience);
        Box::pin(async move { recv.await.map_err(|e| self.hear(&format!("receive of `{topic}`"), e)) })
    }
    fn send<'a>(&'a self, id: &'a str, topic: &'a str, message: Value) -> Pending<'a, ()> {
        let send = self.context.send(id, message, topic);
        Box::pin(async move { send.await.map_err(|e| self.hear(&format!("send to `{id}`"), e)) })
    }
    fn set_event<'a>(&'a self, key: &'a str, value: Value) -> Pending<'a, ()> {
        let set = self.context.set_event(key, value);
        Box::pin(async move { set.await.map_err(|e| self.hear(&format!("set event `{key}`"), e)) })
    }
    fn event<'a>(&'a self, id: &'a str, key: &'a str, patience: Duration) -> Pending<'a, Option<Value>> {
        let event = self.context.get_event(id, key, patience);
        Box::pin(async move { event.await.map_err(|e| self.hear(&format!("read event `{key}` of `{id}`"), e)) })
    }
}
