//! The engine in memory, for tests and simulations: beside a [control store](super::super::store::Memory) in memory, and as long as it.
//!
//! What is recorded outlives an engine, so that another one goes on with it as after a crash.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::running::{Ended, Running};
use super::workflows::{is_a, over, step_number, wait};
use super::{Body, Definitions, Filter, Flow, Pending, Recovery, Retry, State, StepSummary, Steps, Summary, Workflows};
use crate::cluster::door::{self, timestamp as now};
use crate::sync::lock;
use crate::{Error, Result};

/// All that is recorded.
pub(in crate::cluster) struct Log {
    flows: Mutex<BTreeMap<String, Recorded>>,
    changed: watch::Sender<u64>,
}
impl Default for Log {
    fn default() -> Self {
        Log { flows: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

/// One workflow.
struct Recorded {
    /// Its place among all.
    number: usize,
    summary: Summary,
    steps: BTreeMap<u32, StepSummary>,
    messages: VecDeque<(String, Value)>,
    keys: BTreeSet<String>,
    events: BTreeMap<String, Value>,
}

fn unknown(id: &str) -> Error {
    Error::Control(format!("there is no workflow `{id}`"))
}

impl Log {
    fn flows(&self) -> MutexGuard<'_, BTreeMap<String, Recorded>> {
        lock(&self.flows)
    }
    /// Changes a workflow, if there is one, and says so to those who wait.
    fn change<T>(&self, id: &str, change: impl FnOnce(&mut Recorded) -> T) -> Result<T> {
        let changed = {
            let mut flows = self.flows();
            let flow = flows.get_mut(id).ok_or_else(|| unknown(id))?;
            flow.summary.updated = now();
            change(flow)
        };
        self.changed.send_modify(|n| *n += 1);
        Ok(changed)
    }
    fn add(&self, id: &str, name: &str, version: &str, input: Value, from: Option<(&str, BTreeMap<u32, StepSummary>)>) {
        let mut flows = self.flows();
        let summary = Summary {
            id: id.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            state: State::Running,
            input,
            output: None,
            error: None,
            forked_from: from.as_ref().map(|(old, _)| (*old).to_owned()),
            created: now(),
            updated: now(),
        };
        let number = flows.values().map(|f| f.number + 1).max().unwrap_or(0);
        let steps = from.map(|(_, steps)| steps).unwrap_or_default();
        let new = Recorded { number, summary, steps, messages: VecDeque::new(), keys: BTreeSet::new(), events: BTreeMap::new() };
        flows.insert(id.to_owned(), new);
    }
    /// What is found, as soon as it is there; none after `patience`.
    async fn until<T>(&self, patience: Duration, mut find: impl FnMut(&mut BTreeMap<String, Recorded>) -> Option<T>) -> Option<T> {
        let (mut changes, until) = (self.changed.subscribe(), door::now().saturating_add(patience));
        loop {
            changes.borrow_and_update();
            if let Some(found) = find(&mut self.flows()) {
                return Some(found);
            }
            let left = until.saturating_sub(door::now());
            if left.is_zero() {
                return None;
            }
            let _ = door::timeout(left, changes.changed()).await;
        }
    }
    fn send(&self, id: &str, topic: &str, message: Value, key: Option<&str>) -> Result<()> {
        self.change(id, |flow| {
            if key.is_none_or(|key| flow.keys.insert(key.to_owned())) {
                flow.messages.push_back((topic.to_owned(), message));
            }
        })
    }
    async fn event(&self, id: &str, key: &str, patience: Duration) -> Option<Value> {
        self.until(patience, |flows| flows.get(id)?.events.get(key).cloned()).await
    }
}

/// An engine.
pub(super) struct InMemory(Arc<Engine>);

struct Engine {
    log: Arc<Log>,
    running: Running,
    definitions: Definitions,
    recovered: Recovery,
    stopped: AtomicBool,
}

impl InMemory {
    pub(super) fn open(log: Arc<Log>, definitions: &Definitions) -> Self {
        let unfinished: Vec<(usize, String, String, String)> = {
            let flows = log.flows();
            let left = flows.values().filter(|f| !f.summary.state.is_over());
            left.map(|f| (f.number, f.summary.id.clone(), f.summary.name.clone(), f.summary.version.clone())).collect()
        };
        let mut unfinished = unfinished;
        unfinished.sort();
        let recovered = definitions.recovers(unfinished.into_iter().map(|(_, id, name, version)| (id, name, version)));
        let resumed = recovered.resumed.clone();
        let (running, stopped, definitions) = (Running::default(), AtomicBool::new(false), definitions.clone());
        let engine = Arc::new(Engine { log, running, definitions, recovered, stopped });
        for id in resumed {
            engine.launch(&id);
        }
        InMemory(engine)
    }
}

impl Engine {
    /// Runs a workflow from its beginning.
    fn launch(self: &Arc<Self>, id: &str) {
        let found = self.log.flows().get(id).map(|f| (f.summary.name.clone(), f.summary.input.clone(), f.summary.version.clone()));
        let Some((name, input, _)) = found.filter(|(_, _, version)| *version == self.definitions.version()) else { return };
        let Some((_, function)) = self.definitions.functions().find(|(n, _)| **n == name) else { return };
        let (engine, function, id) = (Arc::clone(self), Arc::clone(function), id.to_owned());
        door::spawn(async move {
            if engine.stopped.load(Ordering::SeqCst) {
                return;
            }
            let (log, next, heard) = (Arc::clone(&engine.log), AtomicU32::new(0), Mutex::default());
            let steps = Arc::new(Taken { id: id.clone(), run: next_run(), log, next, heard });
            let mark = (steps.run, false);
            let body = async {
                // a function may fail before its first `await`
                Marked { mark, inner: Box::pin(async { function(Flow::new(Arc::clone(&steps) as Arc<dyn Steps>), input).await }) }.await
            };
            let ended = engine.running.run(&id, body).await;
            let heard = lock(&steps.heard).take();
            let ended = match (ended, heard) {
                (Ended::Cancelled | Ended::Stopped, _) => return,
                (Ended::With(_), Some(heard)) => Err(heard),
                (Ended::With(ended), None) => ended.map_err(|e| e.to_string()),
            };
            door::breath().await;
            let _ = engine.log.change(&id, |flow| {
                if flow.summary.state.is_over() {
                    return;
                }
                match ended {
                    Ok(value) => (flow.summary.state, flow.summary.output) = (State::Done, Some(value)),
                    Err(error) => (flow.summary.state, flow.summary.error) = (State::Failed, Some(error)),
                }
            });
        });
    }
}

impl Workflows for InMemory {
    fn recovered(&self) -> &Recovery {
        &self.0.recovered
    }
    fn start<'a>(&'a self, id: &'a str, name: &'a str, input: Value) -> Pending<'a, ()> {
        Box::pin(async move {
            door::breath().await;
            if !self.0.definitions.names().any(|n| n == name) {
                return Err(Error::Control(format!("no workflow is defined as `{name}`")));
            }
            let there = self.0.log.flows().get(id).map(|f| f.summary.name.clone());
            if let Some(there) = there {
                return is_a(id, &there, name);
            }
            self.0.log.add(id, name, self.0.definitions.version(), input, None);
            self.0.launch(id);
            door::breath().await;
            Ok(())
        })
    }
    fn outcome<'a>(&'a self, id: &'a str) -> Pending<'a, Value> {
        Box::pin(wait(self, id))
    }
    fn send<'a>(&'a self, id: &'a str, topic: &'a str, message: Value, key: Option<&'a str>) -> Pending<'a, ()> {
        Box::pin(async move { self.0.log.send(id, topic, message, key) })
    }
    fn event<'a>(&'a self, id: &'a str, key: &'a str, patience: Duration) -> Pending<'a, Option<Value>> {
        Box::pin(async move { Ok(self.0.log.event(id, key, patience).await) })
    }
    fn cancel<'a>(&'a self, id: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            // one that is not there is not cancelled
            let _ = self.0.log.change(id, |flow| {
                if !flow.summary.state.is_over() {
                    flow.summary.state = State::Cancelled;
                }
            });
            self.0.running.cancel(id).await;
            Ok(())
        })
    }
    fn resume<'a>(&'a self, id: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            let state = self.0.log.flows().get(id).map(|f| f.summary.state).ok_or_else(|| unknown(id))?;
            if matches!(state, State::Cancelled | State::Stuck) {
                self.0.running.cancel(id).await;
                self.0.log.change(id, |flow| flow.summary.state = State::Running)?;
                self.0.launch(id);
            }
            Ok(())
        })
    }
    fn fork<'a>(&'a self, id: &'a str, from: u32, new: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            step_number(id, from)?;
            let old = {
                let flows = self.0.log.flows();
                if flows.contains_key(new) {
                    return Ok(());
                }
                let old = flows.get(id).ok_or_else(|| unknown(id))?;
                (old.summary.clone(), old.steps.range(..from).map(|(n, s)| (*n, s.clone())).collect())
            };
            let (Summary { name, version, input, .. }, steps) = old;
            self.0.log.add(new, &name, &version, input, Some((id, steps)));
            self.0.launch(new);
            Ok(())
        })
    }
    fn show<'a>(&'a self, id: &'a str) -> Pending<'a, Option<Summary>> {
        Box::pin(async move { Ok(self.0.log.flows().get(id).map(|f| f.summary.clone())) })
    }
    fn steps<'a>(&'a self, id: &'a str) -> Pending<'a, Vec<StepSummary>> {
        Box::pin(async move { Ok(self.0.log.flows().get(id).map(|f| f.steps.values().cloned().collect()).unwrap_or_default()) })
    }
    fn list<'a>(&'a self, filter: &'a Filter) -> Pending<'a, Vec<Summary>> {
        Box::pin(async move {
            let flows = self.0.log.flows();
            let fits = |s: &Summary| {
                filter.id_prefix.as_ref().is_none_or(|p| s.id.starts_with(p))
                    && filter.name.as_ref().is_none_or(|n| s.name == *n)
                    && (filter.states.is_empty() || filter.states.contains(&s.state))
            };
            let mut found: Vec<&Recorded> = flows.values().filter(|f| fits(&f.summary)).collect();
            found.sort_by_key(|f| std::cmp::Reverse(f.number));
            let limit = if filter.limit == 0 { usize::MAX } else { filter.limit };
            Ok(found.into_iter().take(limit).map(|f| f.summary.clone()).collect())
        })
    }
    fn forget<'a>(&'a self, ids: &'a [String]) -> Pending<'a, bool> {
        Box::pin(async move {
            let (over, all) = over(self, ids).await?;
            self.0.log.flows().retain(|id, _| !over.contains(id));
            Ok(all)
        })
    }
    fn stop(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.0.stopped.store(true, Ordering::SeqCst);
            self.0.running.stop().await;
            Ok(())
        })
    }
}

thread_local! {
    /// The run whose body is being polled here, and whether it is in a step's.
    static POLLED: Cell<Option<(u64, bool)>> = const { Cell::new(None) };
}

fn next_run() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A future that says where it is polled.
struct Marked<'a, T> {
    mark: (u64, bool),
    inner: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
}
impl<T> Future for Marked<'_, T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        struct Back(Option<(u64, bool)>);
        impl Drop for Back {
            fn drop(&mut self) {
                POLLED.set(self.0);
            }
        }
        let _back = Back(POLLED.replace(Some(self.mark)));
        self.inner.as_mut().poll(context)
    }
}

/// The steps of one run of a workflow.
struct Taken {
    id: String,
    run: u64,
    log: Arc<Log>,
    next: AtomicU32,
    /// What ends the run, whatever its function makes of it.
    heard: Mutex<Option<String>>,
}
impl Taken {
    fn hear(&self, error: String) -> Error {
        lock(&self.heard).get_or_insert(error.clone());
        Error::Control(error)
    }
    /// A step of any kind: what was recorded, or what comes of the work.
    fn recorded<'a>(&'a self, name: String, work: Pending<'a, Value>) -> Pending<'a, Value> {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let here = POLLED.get() == Some((self.run, false));
        Box::pin(async move {
            let id = &self.id;
            if !here {
                return Err(self.hear(format!("workflow `{id}` cannot take step `{name}` where it would not be recorded")));
            }
            let known = self.log.flows().get(id).and_then(|f| f.steps.get(&number).cloned());
            if let Some(known) = known {
                return match known {
                    StepSummary { name: other, .. } if other != name => {
                        Err(self.hear(format!("workflow `{id}` takes step `{name}` where `{other}` was recorded")))
                    }
                    StepSummary { error: Some(error), .. } => Err(Error::Control(error)),
                    known => Ok(known.output.unwrap_or_default()),
                };
            }
            let started = Some(now());
            let result = Marked { mark: (self.run, true), inner: work }.await;
            // killed here, it has had its effect, and is taken again
            door::breath().await;
            let said = result.map_err(|e| e.to_string());
            let (output, error) = (said.as_ref().ok().cloned(), said.as_ref().err().cloned());
            let step = StepSummary { number, name, output, error, started, finished: Some(now()) };
            self.log.change(id, |flow| drop(flow.steps.insert(number, step)))?;
            door::breath().await;
            said.map_err(Error::Control)
        })
    }
    fn unit<'a>(&'a self, name: String, work: Pending<'a, Value>) -> Pending<'a, ()> {
        let done = self.recorded(name, work);
        Box::pin(async move { done.await.map(drop) })
    }
    fn maybe<'a>(&'a self, name: String, work: Pending<'a, Value>) -> Pending<'a, Option<Value>> {
        let found = self.recorded(name, work);
        Box::pin(async move {
            match found.await? {
                Value::Array(mut one) => Ok(one.pop()),
                _ => Ok(None),
            }
        })
    }
}

/// None, or one, as a step records it.
fn perhaps(value: Option<Value>) -> Value {
    Value::Array(value.into_iter().collect())
}

impl Steps for Taken {
    fn id(&self) -> &str {
        &self.id
    }
    fn broken(&self) -> bool {
        // memory is never away, and of a run that is cancelled or stopped nothing goes on
        false
    }
    fn step<'a>(&'a self, name: &'a str, retry: Retry, body: Body<'a>) -> Pending<'a, Value> {
        self.recorded(name.to_owned(), Box::pin(async move { retry.run(body).await }))
    }
    fn sleep(&self, time: Duration) -> Pending<'_, ()> {
        // when it began is a step of its own, so that a crash does not make it longer
        let begun = self.recorded("DBOS.asleep".into(), Box::pin(async { Ok(Value::from(now())) }));
        let slept = self.recorded("DBOS.sleep".into(), Box::pin(async { Ok(Value::Null) }));
        Box::pin(async move {
            let begun = begun.await?.as_i64().unwrap_or_default();
            let gone = Duration::from_millis(u64::try_from(now() - begun).unwrap_or_default());
            door::sleep(time.saturating_sub(gone)).await;
            slept.await.map(drop)
        })
    }
    fn recv<'a>(&'a self, topic: &'a str, patience: Duration) -> Pending<'a, Option<Value>> {
        let take = move |flows: &mut BTreeMap<String, Recorded>| {
            let messages = &mut flows.get_mut(&self.id)?.messages;
            let at = messages.iter().position(|(t, _)| t == topic)?;
            messages.remove(at).map(|(_, message)| message)
        };
        let work = Box::pin(async move { Ok(perhaps(self.log.until(patience, take).await)) });
        self.maybe(format!("DBOS.recv {topic}"), work)
    }
    fn send<'a>(&'a self, id: &'a str, topic: &'a str, message: Value) -> Pending<'a, ()> {
        let key = format!("{}-{}", self.id, self.next.load(Ordering::SeqCst));
        let work = Box::pin(async move { self.log.send(id, topic, message, Some(&key)).map(|()| Value::Null) });
        self.unit(format!("DBOS.send {id}"), work)
    }
    fn set_event<'a>(&'a self, key: &'a str, value: Value) -> Pending<'a, ()> {
        let set = move |flow: &mut Recorded| drop(flow.events.insert(key.to_owned(), value));
        let work = Box::pin(async move { self.log.change(&self.id, set).map(|()| Value::Null) });
        self.unit(format!("DBOS.setEvent {key}"), work)
    }
    fn event<'a>(&'a self, id: &'a str, key: &'a str, patience: Duration) -> Pending<'a, Option<Value>> {
        let work = Box::pin(async move { Ok(perhaps(self.log.event(id, key, patience).await)) });
        self.maybe(format!("DBOS.getEvent {key}"), work)
    }
}
