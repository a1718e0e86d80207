//! The engine on Postgres: the crate `dbos`, in the schema `dbos` of the control store's database, which DBOS's own tools read.
//!
//! Costs: a step takes a round trip or two to the database (`docs/cluster.md`, "Control store"); what is recovered, resumed or forked goes through DBOS's
//! queue, which is looked into once a second. Nothing else uses queues.
//!
//! All servers bear one name there: who leads takes over what the leader before left, and the leader's lock is held before anything begins. The crate finds
//! a workflow's context by the task that runs, so steps are refused in other tasks, where they would not be recorded; and calls from outside are made in
//! tasks of their own, so that a workflow's body may make them too.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbos::sysdb::Error as Database;
use dbos::sysdb::types::{StepRecord, Timestamp, WorkflowFilter, WorkflowRecord, WorkflowStatus};
use dbos::{Children, Config, DBOS, ForkFrom, ForkOptions, SendOptions, StartOptions, WorkflowRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::running::{Ended, Running};
use super::workflows::{is_a, over, step_number, unstick, wait};
use super::{Body, Definitions, Filter, Flow, Pending, Recovery, Retry, State, StepSummary, Steps, Summary, Workflows};
use crate::sync::lock;
use crate::{Error, Result};

/// The application, to DBOS.
const APPLICATION: &str = "sabot";
/// The one process that runs workflows at a time.
const EXECUTOR: &str = "server";
/// Connections to the database.
const CONNECTIONS: u32 = 8;
/// How long to wait before a workflow whose database failed under it goes on.
const AGAIN: Duration = Duration::from_secs(1);

/// What a step or a workflow failed with, as it is recorded.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
#[error("{0}")]
struct Failure(String);

type Fault = dbos::Error<Failure>;

pub(super) struct Postgres {
    dbos: DBOS,
    defined: BTreeMap<String, WorkflowRef<Value, Value, Failure>>,
    running: Arc<Running>,
    recovered: Recovery,
    rescues: JoinHandle<()>,
}

fn failed<E: std::fmt::Display>(what: &str, e: &dbos::Error<E>) -> Error {
    match e {
        dbos::Error::WorkflowNotFound { workflow_id } => Error::Control(format!("there is no workflow `{workflow_id}`")),
        dbos::Error::SystemDatabase(Database::NonExistentWorkflow { workflow_ids }) => {
            Error::Control(format!("there is no workflow `{}`", workflow_ids.join("`, `")))
        }
        dbos::Error::SystemDatabase(Database::Backend(e)) => {
            Error::io("postgres", format!("durable workflows cannot {what} ({e})"), std::io::ErrorKind::ConnectionReset.into())
        }
        e => Error::Control(format!("durable workflows cannot {what}: {e}")),
    }
}

impl Postgres {
    pub(super) async fn open(url: &str, unfinished: Vec<(String, String, String)>, definitions: &Definitions) -> Result<Self> {
        let running = Arc::new(Running::default());
        let config = Config {
            executor_id: Some(EXECUTOR.to_owned()),
            app_version: Some(definitions.version().to_owned()),
            max_connections: CONNECTIONS,
            ..Config::new(APPLICATION, url)
        };
        let dbos = DBOS::new(config);
        let (rescue, waiting) = mpsc::unbounded_channel();
        let mut defined = BTreeMap::new();
        for (name, function) in definitions.functions() {
            let (function, running, rescue) = (Arc::clone(function), Arc::clone(&running), rescue.clone());
            let body = move |input: Value| {
                let (function, running, rescue) = (Arc::clone(&function), Arc::clone(&running), rescue.clone());
                async move {
                    let id = dbos::workflow_id().unwrap_or_default();
                    let steps = Arc::new(Context { id: id.clone(), heard: Mutex::default() });
                    let ended = running.run(&id, function(Flow::new(Arc::clone(&steps) as Arc<dyn Steps>), input)).await;
                    match (ended, steps.heard()) {
                        (Ended::Cancelled, _) => Err(Fault::WorkflowCancelled { workflow_id: id }),
                        (Ended::Stopped, _) => Err(Fault::Interrupted { workflow_id: id }),
                        (Ended::With(_), Some(heard)) => {
                            if matches!(heard, Fault::SystemDatabase(Database::Backend(_))) {
                                rescue.send(id).unwrap_or_default();
                            }
                            Err(heard)
                        }
                        (Ended::With(ended), None) => ended.map_err(|e| Fault::Application(Failure(e.to_string()))),
                    }
                }
            };
            let workflow = dbos.register_workflow(name, body).map_err(|e| failed("be defined", &e))?;
            defined.insert(name.clone(), workflow);
        }
        dbos.launch().await.map_err(|e| failed("begin", &e))?;
        let rescues = tokio::spawn(rescued(dbos.clone(), waiting));
        let mut opened = Postgres { dbos, defined, running, recovered: definitions.recovers(unfinished), rescues };
        opened.recovered.resumed.extend(unstick(&opened, definitions).await?);
        Ok(opened)
    }
    /// Does something of DBOS in a task of its own, where there is no workflow around it.
    fn outside<'a, T, Fut>(&self, what: &'static str, work: impl FnOnce(DBOS) -> Fut + Send + 'a) -> Pending<'a, T>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let task = tokio::spawn(work(self.dbos.clone()));
        Box::pin(async move { task.await.map_err(|e| Error::Control(format!("durable workflows cannot {what}: {e}")))? })
    }
    async fn known(&self, id: &str) -> Result<Summary> {
        self.show(id).await?.ok_or_else(|| Error::Control(format!("there is no workflow `{id}`")))
    }
}

/// Lets workflows go on that ended because the database failed under them; those that it does not know how to record stay unfinished until then.
async fn rescued(dbos: DBOS, mut waiting: mpsc::UnboundedReceiver<String>) {
    while let Some(id) = waiting.recv().await {
        loop {
            tokio::time::sleep(AGAIN).await;
            match found(&dbos, &id).await {
                // put onto the queue, from where it runs again
                Ok(Some(workflow)) if workflow.status == WorkflowStatus::Pending => {
                    let again = async {
                        dbos.cancel(&id).await?;
                        dbos.resume::<Value, Failure>(&id).await
                    };
                    if again.await.is_ok() {
                        break;
                    }
                }
                Ok(_) => break,
                Err(_) => {}
            }
        }
    }
}

async fn found(dbos: &DBOS, id: &str) -> dbos::Result<Option<WorkflowRecord>> {
    let filter = WorkflowFilter { workflow_ids: vec![id], ..WorkflowFilter::default() };
    Ok(dbos.list_workflows(&filter).await?.pop())
}

fn state(status: WorkflowStatus) -> State {
    match status {
        WorkflowStatus::Pending => State::Running,
        WorkflowStatus::Enqueued | WorkflowStatus::Delayed => State::Queued,
        WorkflowStatus::Success => State::Done,
        WorkflowStatus::Error => State::Failed,
        WorkflowStatus::Cancelled => State::Cancelled,
        WorkflowStatus::MaxRecoveryAttemptsExceeded => State::Stuck,
    }
}

fn statuses(state: State) -> &'static [WorkflowStatus] {
    match state {
        State::Running => &[WorkflowStatus::Pending],
        State::Queued => &[WorkflowStatus::Enqueued, WorkflowStatus::Delayed],
        State::Done => &[WorkflowStatus::Success],
        State::Failed => &[WorkflowStatus::Error],
        State::Cancelled => &[WorkflowStatus::Cancelled],
        State::Stuck => &[WorkflowStatus::MaxRecoveryAttemptsExceeded],
    }
}

/// A recorded value; text that is no JSON as text.
fn value(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// A recorded error as its sentence.
fn sentence(text: String) -> String {
    serde_json::from_str::<Fault>(&text).map_or(text, |e| e.to_string())
}

fn summary(record: WorkflowRecord) -> Summary {
    Summary {
        id: record.workflow_id,
        name: record.name.unwrap_or_default(),
        version: record.application_version.unwrap_or_default(),
        state: state(record.status),
        input: record.input.map(value).unwrap_or_default(),
        output: record.output.map(value),
        error: record.error.map(sentence),
        forked_from: record.forked_from,
        created: record.created_at.as_epoch_ms(),
        updated: record.updated_at.as_epoch_ms(),
    }
}

impl Workflows for Postgres {
    fn recovered(&self) -> &Recovery {
        &self.recovered
    }
    fn start<'a>(&'a self, id: &'a str, name: &'a str, input: Value) -> Pending<'a, ()> {
        Box::pin(async move {
            let Some(workflow) = self.defined.get(name).cloned() else {
                return Err(Error::Control(format!("no workflow is defined as `{name}`")));
            };
            let own = id.to_owned();
            let started = self.outside("start one", move |_| async move {
                let options = StartOptions { workflow_id: Some(&own), ..StartOptions::default() };
                match workflow.start_with(input, options).await {
                    Ok(_) | Err(Fault::SystemDatabase(Database::ConflictingWorkflow { .. })) => Ok(()),
                    Err(e) => Err(failed("start one", &e)),
                }
            });
            started.await?;
            is_a(id, &self.known(id).await?.name, name)
        })
    }
    fn outcome<'a>(&'a self, id: &'a str) -> Pending<'a, Value> {
        Box::pin(wait(self, id))
    }
    fn send<'a>(&'a self, id: &'a str, topic: &'a str, message: Value, key: Option<&'a str>) -> Pending<'a, ()> {
        // a key is DBOS's name of the message, whoever it is for
        let (id, topic, key) = (id.to_owned(), topic.to_owned(), key.map(|key| format!("{id}/{topic}/{key}")));
        self.outside("send", move |dbos| async move {
            let options = SendOptions { topic: Some(&topic), idempotency_key: key.as_deref(), ..SendOptions::default() };
            dbos.send_with(&id, &message, options).await.map_err(|e| failed("send", &e))
        })
    }
    fn event<'a>(&'a self, id: &'a str, key: &'a str, patience: Duration) -> Pending<'a, Option<Value>> {
        let (id, key) = (id.to_owned(), key.to_owned());
        self.outside("read an event", move |dbos| async move {
            dbos.get_event(&id, &key, patience).await.map_err(|e| failed("read an event", &e))
        })
    }
    fn cancel<'a>(&'a self, id: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            let own = id.to_owned();
            self.outside("be cancelled", move |dbos| async move { dbos.cancel(&own).await.map_err(|e| failed("be cancelled", &e)) })
                .await?;
            self.running.cancel(id).await;
            Ok(())
        })
    }
    fn resume<'a>(&'a self, id: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            if !matches!(self.known(id).await?.state, State::Cancelled | State::Stuck) {
                return Ok(());
            }
            self.running.cancel(id).await;
            let own = id.to_owned();
            let resume =
                move |dbos: DBOS| async move { dbos.resume::<Value, Failure>(&own).await.map(drop).map_err(|e| failed("be resumed", &e)) };
            self.outside("be resumed", resume).await
        })
    }
    fn fork<'a>(&'a self, id: &'a str, from: u32, new: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            if self.show(new).await?.is_some() {
                return Ok(());
            }
            self.known(id).await?;
            let from = step_number(id, from)?;
            let (id, new) = (id.to_owned(), new.to_owned());
            let fork = move |dbos: DBOS| async move {
                let options = ForkOptions { forked_id: Some(&new), ..ForkOptions::default() };
                dbos.fork_with::<Value, Failure>(&id, ForkFrom::Step(from), options).await.map(drop).map_err(|e| failed("be forked", &e))
            };
            self.outside("be forked", fork).await
        })
    }
    fn show<'a>(&'a self, id: &'a str) -> Pending<'a, Option<Summary>> {
        let id = id.to_owned();
        self.outside("be read", move |dbos| async move { Ok(found(&dbos, &id).await.map_err(|e| failed("be read", &e))?.map(summary)) })
    }
    fn steps<'a>(&'a self, id: &'a str) -> Pending<'a, Vec<StepSummary>> {
        let id = id.to_owned();
        self.outside("be read", move |dbos| async move {
            let step = |s: StepRecord| StepSummary {
                number: u32::try_from(s.step_id).unwrap_or_default(),
                name: s.step_name,
                output: s.output.map(value),
                error: s.error.map(sentence),
                started: s.started_at.map(Timestamp::as_epoch_ms),
                finished: s.completed_at.map(Timestamp::as_epoch_ms),
            };
            let mut steps: Vec<_> = dbos.list_workflow_steps(&id).await.map_err(|e| failed("be read", &e))?.into_iter().map(step).collect();
            steps.sort_by_key(|s| s.number);
            Ok(steps)
        })
    }
    fn list<'a>(&'a self, filter: &'a Filter) -> Pending<'a, Vec<Summary>> {
        let filter = filter.clone();
        self.outside("be listed", move |dbos| async move {
            let filter = WorkflowFilter {
                workflow_id_prefixes: filter.id_prefix.as_deref().into_iter().collect(),
                names: filter.name.as_deref().into_iter().collect(),
                status: filter.states.iter().flat_map(|s| statuses(*s)).copied().collect(),
                limit: (filter.limit > 0).then(|| i64::try_from(filter.limit).unwrap_or(i64::MAX)),
                sort_desc: true,
                ..WorkflowFilter::default()
            };
            let found = dbos.list_workflows(&filter).await.map_err(|e| failed("be listed", &e))?;
            Ok(found.into_iter().map(summary).collect())
        })
    }
    fn forget<'a>(&'a self, ids: &'a [String]) -> Pending<'a, bool> {
        Box::pin(async move {
            let (over, all) = over(self, ids).await?;
            let forget = move |dbos: DBOS| async move {
                let ids: Vec<&str> = over.iter().map(String::as_str).collect();
                dbos.delete_all(&ids, Children::Skip).await.map(drop).map_err(|e| failed("be forgotten", &e))
            };
            self.outside("be forgotten", forget).await?;
            Ok(all)
        })
    }
    fn stop(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.rescues.abort();
            self.running.stop().await;
            self.dbos.shutdown().await;
            Ok(())
        })
    }
}
impl Drop for Postgres {
    fn drop(&mut self) {
        self.rescues.abort();
    }
}

/// The steps of one run of a workflow.
struct Context {
    id: String,
    /// The engine's own error, which ends the run whatever its function makes of it.
    heard: Mutex<Option<Fault>>,
}
impl Context {
    fn heard(&self) -> Option<Fault> {
        lock(&self.heard).take()
    }
    /// An error of a step: what was recorded stays with the function, the engine's own is kept for the end.
    fn hear(&self, what: &str, e: Fault) -> Error {
        if matches!(e, Fault::Application(_) | Fault::StepFailed { .. }) {
            return Error::Control(e.to_string());
        }
        let text = format!("workflow `{}` cannot {what}: {e}", self.id);
        // the history belongs to another function: nothing that is tried again helps
        let e =
            if matches!(e, Fault::SystemDatabase(Database::UnexpectedStep { .. })) { Fault::Application(Failure(text.clone())) } else { e };
        lock(&self.heard).get_or_insert(e);
        Error::Control(text)
    }
    /// Whether this is the task of the workflow, and no step of it.
    fn here(&self, what: &str) -> Result<()> {
        if dbos::workflow_id().as_deref() == Some(&self.id) && dbos::step_status().is_none() {
            return Ok(());
        }
        let text = format!("workflow `{}` cannot {what} here: only its own function can, in its own task, and not in a step", self.id);
        lock(&self.heard).get_or_insert(Fault::Application(Failure(text.clone())));
        Err(Error::Control(text))
    }
    /// What waits for a call, which was made already if this is the place for it.
    fn pending<'a, T: Send + 'a>(&'a self, what: String, call: impl FnOnce() -> dbos::PendingStep<'a, T, Failure>) -> Pending<'a, T> {
        let called = self.here(&what).map(|()| call());
        Box::pin(async move { called?.await.map_err(|e| self.hear(&what, e)) })
    }
}
impl Steps for Context {
    fn id(&self) -> &str {
        &self.id
    }
    fn broken(&self) -> bool {
        lock(&self.heard).as_ref().is_some_and(|e| !matches!(e, Fault::Application(_)))
    }
    fn step<'a>(&'a self, name: &'a str, retry: Retry, body: Body<'a>) -> Pending<'a, Value> {
        // DBOS calls the body once: the retries are in it
        let mut body = Some(body);
        self.pending(format!("take step `{name}`"), || {
            dbos::step(name, move || {
                let body = body.take();
                async move {
                    match body {
                        Some(body) => retry.run(body).await.map_err(|e| Fault::Application(Failure(e.to_string()))),
                        None => Err(Fault::Application(Failure("the step was called twice".to_owned()))),
                    }
                }
            })
        })
    }
    fn sleep(&self, time: Duration) -> Pending<'_, ()> {
        self.pending("wait".to_owned(), || dbos::sleep(time))
    }
    fn recv<'a>(&'a self, topic: &'a str, patience: Duration) -> Pending<'a, Option<Value>> {
        self.pending(format!("receive of `{topic}`"), || dbos::recv(Some(topic), patience))
    }
    fn send<'a>(&'a self, id: &'a str, topic: &'a str, message: Value) -> Pending<'a, ()> {
        let options = SendOptions { topic: Some(topic), ..SendOptions::default() };
        self.pending(format!("send to `{id}`"), || dbos::send_with(id, &message, options))
    }
    fn set_event<'a>(&'a self, key: &'a str, value: Value) -> Pending<'a, ()> {
        self.pending(format!("set event `{key}`"), || dbos::set_event(key, &value))
    }
    fn event<'a>(&'a self, id: &'a str, key: &'a str, patience: Duration) -> Pending<'a, Option<Value>> {
        self.pending(format!("read event `{key}` of `{id}`"), || dbos::get_event(id, key, patience))
    }
}
