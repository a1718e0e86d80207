//! What is asked of an engine from outside its workflows.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Definitions, Pending};
use crate::cluster::door;
use crate::{Error, Result};

/// Where a workflow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Written down, and not yet begun here: it was resumed, forked or recovered a moment ago.
    Queued,
    /// Running, or left unfinished by a process that died.
    Running,
    /// It ended with a value.
    Done,
    /// It ended with an error.
    Failed,
    /// It was cancelled, and can be resumed.
    Cancelled,
    /// The engine has given it up, since it was begun again too often. It is resumed when an engine is opened.
    Stuck,
}
impl State {
    /// Whether nothing more happens by itself.
    pub fn is_over(self) -> bool {
        !matches!(self, State::Queued | State::Running)
    }
}

/// A workflow, as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// The name of its definition.
    pub name: String,
    /// The version of the definitions it was started with.
    pub version: String,
    /// Where it is.
    pub state: State,
    /// What it was given.
    pub input: Value,
    /// What it ended with.
    pub output: Option<Value>,
    /// The error it ended with, as a sentence.
    pub error: Option<String>,
    /// The workflow it was forked from.
    pub forked_from: Option<String>,
    /// When it was started: milliseconds since 1970.
    pub created: i64,
    /// When its record changed last.
    pub updated: i64,
}

/// A recorded step. Waits, messages and events are steps of the engine, with names of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepSummary {
    /// Its number, as [`Workflows::fork`] takes it. Numbers may have gaps.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its value.
    pub output: Option<Value>,
    /// The error it ended with, as a sentence.
    pub error: Option<String>,
    /// When it began: milliseconds since 1970, where the engine notes it.
    pub started: Option<i64>,
    /// When it was recorded.
    pub finished: Option<i64>,
}

/// Which workflows to list: those that fit all that is said.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Ids that begin so.
    pub id_prefix: Option<String>,
    /// Of this definition.
    pub name: Option<String>,
    /// In one of these states; of all, if none is named.
    pub states: Vec<State>,
    /// At most so many, the newest first; 0 is all.
    pub limit: usize,
}

/// What was found unfinished when an engine was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Go on from where they were.
    pub resumed: Vec<String>,
    /// Were begun with other definitions, and wait for a server that has them: id and version.
    pub waiting: Vec<(String, String)>,
}

/// An engine of durable workflows: see the [module](super).
pub trait Workflows: Send + Sync {
    /// What was unfinished when this engine was opened.
    fn recovered(&self) -> &Recovery;
    /// Starts a workflow. If the id is known, nothing happens: the first start counts, whatever became of it.
    ///
    /// # Errors
    /// If the name is not defined, the id belongs to a workflow of another name, or the database does not answer.
    fn start<'a>(&'a self, id: &'a str, name: &'a str, input: Value) -> Pending<'a, ()>;
    /// Waits until it is over: its value. Looks into the database up to four times a second, more often at first.
    ///
    /// # Errors
    /// The error it ended with, [`Error::Cancelled`](crate::Error::Cancelled) if it was cancelled; if there is no such workflow.
    fn outcome<'a>(&'a self, id: &'a str) -> Pending<'a, Value>;
    /// Sends a message to a workflow, which takes messages of a topic in the order in which they came. With a `key`, a second send of the same key to it
    /// does nothing.
    ///
    /// # Errors
    /// If there is no such workflow.
    fn send<'a>(&'a self, id: &'a str, topic: &'a str, message: Value, key: Option<&'a str>) -> Pending<'a, ()>;
    /// The event `key` of a workflow: the value set last, or none if there is none after `patience`.
    ///
    /// # Errors
    /// If the database does not answer.
    fn event<'a>(&'a self, id: &'a str, key: &'a str, patience: Duration) -> Pending<'a, Option<Value>>;
    /// Cancels a workflow; if it is over, or unknown, nothing happens. When this returns, nothing of it runs in this process.
    ///
    /// # Errors
    /// If the database does not answer.
    fn cancel<'a>(&'a self, id: &'a str) -> Pending<'a, ()>;
    /// Lets a cancelled or stuck workflow go on from its last recorded step. If it is done, failed, or running, nothing happens.
    ///
    /// # Errors
    /// If there is no such workflow.
    fn resume<'a>(&'a self, id: &'a str) -> Pending<'a, ()>;
    /// Starts a new workflow with the input and the steps before number `from` of an old one, whose version counts. If `new` is known, nothing happens.
    ///
    /// # Errors
    /// If there is no such workflow.
    fn fork<'a>(&'a self, id: &'a str, from: u32, new: &'a str) -> Pending<'a, ()>;
    /// One workflow.
    ///
    /// # Errors
    /// If the database does not answer.
    fn show<'a>(&'a self, id: &'a str) -> Pending<'a, Option<Summary>>;
    /// Its recorded steps, by number.
    ///
    /// # Errors
    /// If the database does not answer.
    fn steps<'a>(&'a self, id: &'a str) -> Pending<'a, Vec<StepSummary>>;
    /// The workflows that fit.
    ///
    /// # Errors
    /// If the database does not answer.
    fn list<'a>(&'a self, filter: &'a Filter) -> Pending<'a, Vec<Summary>>;
    /// Forgets workflows that are over, with their steps; whether none of them is left. One that runs, or waits to be
    /// resumed because it was recovered too often, stays.
    ///
    /// # Errors
    /// If the database does not answer.
    fn forget<'a>(&'a self, ids: &'a [String]) -> Pending<'a, bool>;
    /// Runs nothing from here on: bodies are dropped at their next `await`, as in a crash, and go on when an engine is opened again. Returns when they
    /// are gone. To be called at once by who is not the leader any more.
    fn stop(&self) -> Pending<'_, ()>;
}

/// Those of these workflows that are over, and whether all others are gone.
pub(super) async fn over(engine: &dyn Workflows, ids: &[String]) -> Result<(Vec<String>, bool)> {
    let (mut over, mut all) = (Vec::new(), true);
    for id in ids {
        match engine.show(id).await? {
            Some(found) if found.state.is_over() && found.state != State::Stuck => over.push(found.id),
            Some(_) => all = false,
            None => {}
        }
    }
    Ok((over, all))
}

/// Refuses a workflow that is there under this id, and is another one than this.
pub(super) fn is_a(id: &str, there: &str, name: &str) -> Result<()> {
    match there == name {
        true => Ok(()),
        false => Err(Error::Control(format!("workflow `{id}` is there already, and is a `{there}`, not a `{name}`"))),
    }
}

/// Lets workflows go on that were begun again more often than an engine likes: servers that are started again and again are no fault of theirs.
/// Those of these definitions; their ids.
pub(super) async fn unstick(engine: &dyn Workflows, definitions: &Definitions) -> Result<Vec<String>> {
    let stuck = engine.list(&Filter { states: vec![State::Stuck], ..Filter::default() }).await?;
    let ours = definitions.recovers(stuck.into_iter().map(|w| (w.id, w.name, w.version))).resumed;
    for id in &ours {
        engine.resume(id).await?;
    }
    Ok(ours)
}

/// The number of a step, as the engines have it.
pub(super) fn step_number(id: &str, from: u32) -> Result<i32> {
    i32::try_from(from).map_err(|_| Error::Control(format!("workflow `{id}` has no step {from}")))
}

/// Waits for the end of a workflow. Looks often at first, since most are short.
pub(super) async fn wait(engine: &dyn Workflows, id: &str) -> Result<Value> {
    const FIRST: Duration = Duration::from_millis(4);
    const LAST: Duration = Duration::from_millis(250);
    let mut next = FIRST;
    loop {
        let Some(found) = engine.show(id).await? else { return Err(Error::Control(format!("there is no workflow `{id}`"))) };
        match found.state {
            State::Done => return Ok(found.output.unwrap_or_default()),
            State::Failed => return Err(Error::Control(found.error.unwrap_or_else(|| format!("workflow `{id}` failed")))),
            State::Cancelled => return Err(Error::Cancelled),
            State::Stuck => {
                return Err(Error::Control(format!("workflow `{id}` was begun again too often, and is given up until it is resumed")));
            }
            State::Queued | State::Running => door::sleep(next).await,
        }
        next = (next * 3 / 2).min(LAST);
    }
}
