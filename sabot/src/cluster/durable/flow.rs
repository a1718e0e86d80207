//! What a workflow sees.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::watch::Watched;
use super::{Moment, Pending};
use crate::cluster::door;
use crate::{Error, Result};

/// The body of a step, called once per try.
pub type Body<'a> = Box<dyn FnMut() -> Pending<'a, Value> + Send + 'a>;

/// How often a step is tried. Tries are counted anew after a crash.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// How often at most; at least once.
    pub tries: u32,
    /// The wait after the first failure.
    pub wait: Duration,
    /// Each further wait is twice as long, up to this.
    pub longest: Duration,
    /// The errors that a further try may help against.
    pub when: fn(&Error) -> bool,
}
impl Retry {
    /// One try.
    pub const fn never() -> Self {
        Retry { tries: 1, wait: Duration::ZERO, longest: Duration::ZERO, when: Error::is_transient }
    }
    /// So many tries of what [may pass by itself](Error::is_transient), 100 ms, 200 ms, ... and at most 5 s apart.
    pub const fn transient(tries: u32) -> Self {
        Retry { tries, wait: Duration::from_millis(100), longest: Duration::from_secs(5), when: Error::is_transient }
    }
    /// The wait before the next try after so many failures, if there is one.
    pub(super) fn next(&self, failures: u32, error: &Error) -> Option<Duration> {
        let again = failures < self.tries && (self.when)(error);
        again.then(|| self.wait.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.longest))
    }
    /// Runs a body under this policy.
    pub(super) async fn run(&self, mut body: Body<'_>) -> Result<Value> {
        let mut failures = 0;
        loop {
            let error = match body().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            failures += 1;
            match self.next(failures, &error) {
                Some(wait) => door::sleep(wait).await,
                None => return Err(error),
            }
        }
    }
}

/// What an engine offers to a workflow. [`Flow`] is the typed face of it.
pub trait Steps: Send + Sync {
    /// The workflow's id.
    fn id(&self) -> &str;
    /// Whether the engine itself has failed or was told to end this run: the function has not failed, and runs again, or was cancelled.
    fn broken(&self) -> bool;
    /// A step: its body is called unless its value is recorded. Its place is taken by this call, not by the first poll.
    fn step<'a>(&'a self, name: &'a str, retry: Retry, body: Body<'a>) -> Pending<'a, Value>;
    /// Waits; after a crash, for the rest.
    fn sleep(&self, time: Duration) -> Pending<'_, ()>;
    /// The next message of a topic, or none after `patience`.
    fn recv<'a>(&'a self, topic: &'a str, patience: Duration) -> Pending<'a, Option<Value>>;
    /// Sends a message to another workflow, once.
    fn send<'a>(&'a self, id: &'a str, topic: &'a str, message: Value) -> Pending<'a, ()>;
    /// Sets an event of this workflow.
    fn set_event<'a>(&'a self, key: &'a str, value: Value) -> Pending<'a, ()>;
    /// An event of another workflow, or none after `patience`.
    fn event<'a>(&'a self, id: &'a str, key: &'a str, patience: Duration) -> Pending<'a, Option<Value>>;
}

/// A workflow's way to the world. Errors of the engine itself (the database is away, the workflow was cancelled) end the workflow when they are passed
/// on with `?`, and are not recorded.
#[derive(Clone)]
pub struct Flow {
    steps: Arc<dyn Steps>,
    watched: Option<Watched>,
}

impl Flow {
    /// Over an engine's own.
    pub fn new(steps: Arc<dyn Steps>) -> Self {
        Flow { steps, watched: None }
    }
    /// With somebody who looks on.
    pub(super) fn watched(self, watched: Watched) -> Self {
        Flow { watched: Some(watched), ..self }
    }
    /// Tells who looks on.
    pub(super) async fn tell(&self, step: &str, moment: Moment) {
        if let Some(watched) = &self.watched {
            watched.tell(self.id(), step, moment).await;
        }
    }
    /// The workflow's id: with a step's name, the key of what the step does.
    pub fn id(&self) -> &str {
        self.steps.id()
    }
    /// Whether the engine itself has ended this run (the database was away, the workflow was cancelled). Its function should then do nothing more: it runs
    /// again, or was cancelled, and what it returns does not count.
    pub fn broken(&self) -> bool {
        self.steps.broken()
    }
    /// A step, tried once. Its name says what it does, and to what (`deploy agent-3`). Its place among the steps is taken by this call, not by the first
    /// poll, so that steps may be joined.
    ///
    /// # Errors
    /// What the body fails with, recorded; and what the engine fails with.
    pub fn step<'a, T, F, Fut>(&'a self, name: &'a str, body: F) -> Pending<'a, T>
    where
        T: Serialize + DeserializeOwned + Send + 'a,
        F: FnMut() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        self.try_step(name, Retry::never(), body)
    }
    /// A step, tried as often as `retry` says.
    ///
    /// # Errors
    /// What the last try fails with, recorded; and what the engine fails with.
    pub fn try_step<'a, T, F, Fut>(&'a self, name: &'a str, retry: Retry, mut body: F) -> Pending<'a, T>
    where
        T: Serialize + DeserializeOwned + Send + 'a,
        F: FnMut() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T>> + Send + 'a,
    {
        let bad = move |what: &str, e| self.bad(&format!("{what} the value of step `{name}`"), &e);
        let ran = Arc::new(AtomicBool::new(false));
        let runs = Arc::clone(&ran);
        let erased: Body<'a> = Box::new(move || {
            runs.store(true, SeqCst);
            let value = body();
            Box::pin(async move {
                self.tell(name, Moment::Before).await;
                let value = value.await;
                self.tell(name, Moment::Done).await;
                serde_json::to_value(value?).map_err(|e| bad("write", e))
            })
        });
        let value = self.steps.step(name, retry, erased);
        Box::pin(async move {
            let value = value.await?;
            if ran.load(SeqCst) {
                self.tell(name, Moment::Recorded).await;
            }
            serde_json::from_value(value).map_err(|e| bad("read", e))
        })
    }
    /// Waits so long since the first call; after a crash, for the rest.
    ///
    /// # Errors
    /// What the engine fails with.
    pub fn sleep(&self, time: Duration) -> Pending<'_, ()> {
        self.steps.sleep(time)
    }
    /// The next message of a topic, or none after `patience`.
    ///
    /// # Errors
    /// If it is of another type; what the engine fails with.
    pub fn recv<'a, T: DeserializeOwned + 'a>(&'a self, topic: &'a str, patience: Duration) -> Pending<'a, Option<T>> {
        let found = self.steps.recv(topic, patience);
        let read = move |m| serde_json::from_value(m).map_err(|e| self.bad(&format!("read a message of `{topic}`"), &e));
        Box::pin(async move { found.await?.map(read).transpose() })
    }
    /// Sends a message to another workflow, once.
    ///
    /// # Errors
    /// If there is no such workflow; what the engine fails with.
    pub fn send<'a>(&'a self, id: &'a str, topic: &'a str, message: &impl Serialize) -> Pending<'a, ()> {
        match serde_json::to_value(message) {
            Ok(message) => self.steps.send(id, topic, message),
            Err(e) => self.refused(&format!("send to `{id}`"), &e),
        }
    }
    /// Sets an event, for [`Workflows::event`](super::Workflows::event).
    ///
    /// # Errors
    /// What the engine fails with.
    pub fn set_event<'a>(&'a self, key: &'a str, value: &impl Serialize) -> Pending<'a, ()> {
        match serde_json::to_value(value) {
            Ok(value) => self.steps.set_event(key, value),
            Err(e) => self.refused(&format!("set event `{key}`"), &e),
        }
    }
    /// An event of another workflow, or none after `patience`.
    ///
    /// # Errors
    /// If it is of another type; what the engine fails with.
    pub fn event<'a, T: DeserializeOwned + 'a>(&'a self, id: &'a str, key: &'a str, patience: Duration) -> Pending<'a, Option<T>> {
        let found = self.steps.event(id, key, patience);
        let read = move |v| serde_json::from_value(v).map_err(|e| self.bad(&format!("read event `{key}` of `{id}`"), &e));
        Box::pin(async move { found.await?.map(read).transpose() })
    }
    fn bad(&self, what: &str, e: &serde_json::Error) -> Error {
        Error::Control(format!("workflow `{}` cannot {what}: {e}", self.id()))
    }
    fn refused<'a>(&self, what: &str, e: &serde_json::Error) -> Pending<'a, ()> {
        let error = self.bad(what, e);
        Box::pin(async move { Err(error) })
    }
}
impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Flow").field(&self.id()).finish()
    }
}
