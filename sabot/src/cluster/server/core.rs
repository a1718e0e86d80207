//! What the server's workflows and its API share.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use super::hub::{Hub, News};
use crate::cluster::durable::Workflows;
use crate::cluster::membership::{Registration, Standing};
use crate::cluster::store::{AgentState, ControlStore, Event, Fence, Job as Row, Leader, Level, NewAgent};
use crate::cluster::{Build, door};
use crate::runtime::share::{Lead, StageShape};
use crate::runtime::{RunOptions, Savepoint};
use crate::shuffle::flight::TicketKey;
use crate::stream::{Job, JobSpec};
use crate::{Error, Result};

/// Events that the store keeps.
const EVENTS: u32 = 20_000;

/// The server's memory, and the way to what lasts.
pub(in crate::cluster) struct Core {
    pub(in crate::cluster) build: Build,
    pub(in crate::cluster) store: Arc<ControlStore>,
    pub(in crate::cluster) fence: Fence,
    pub(in crate::cluster) hub: Arc<Hub>,
    pub(in crate::cluster) key: TicketKey,
    pub(in crate::cluster) ticket_key: String,
    pub(in crate::cluster) control: String,
    pub(in crate::cluster) tls: bool,
    pub(in crate::cluster) since: i64,
    pub(in crate::cluster) workflows: OnceLock<Arc<dyn Workflows>>,
}

/// What a server shows to others.
pub(in crate::cluster) struct Face {
    pub(in crate::cluster) key: TicketKey,
    pub(in crate::cluster) ticket_key: String,
    pub(in crate::cluster) control: String,
    pub(in crate::cluster) tls: bool,
    pub(in crate::cluster) since: i64,
}

impl Core {
    /// Of a server that leads. Its workflows are opened later; what happens is told to the receiver.
    ///
    /// # Errors
    /// If two operators or two pipelines have one name.
    pub(in crate::cluster) fn new(store: Arc<ControlStore>, leader: &Leader, face: Face) -> Result<(Arc<Self>, UnboundedReceiver<News>)> {
        let Face { key, ticket_key, control, tls, since } = face;
        let build = Build::this()?;
        let (sender, news) = super::hub::news();
        let fence = leader.fence();
        let hub = Hub::new(build.clone(), Arc::clone(&store), fence, sender);
        Ok((Arc::new(Core { build, store, fence, hub, key, ticket_key, control, tls, since, workflows: OnceLock::new() }), news))
    }
    /// The engine of workflows.
    ///
    /// # Errors
    /// While the server starts.
    pub(in crate::cluster) fn workflows(&self) -> Result<&Arc<dyn Workflows>> {
        self.workflows.get().ok_or_else(|| Error::Control("the server is starting: ask again in a moment".into()))
    }
    /// A job's row.
    ///
    /// # Errors
    /// If there is none.
    pub(in crate::cluster) async fn row(&self, id: &str) -> Result<Row> {
        self.store.job(id).await?.ok_or_else(|| Error::Usage(format!("there is no job `{id}`; `jobs --all` lists them")))
    }
    /// Registers an agent in the store; its epoch.
    pub(super) async fn register(store: &ControlStore, fence: Fence, registration: &Registration) -> Result<u64> {
        let new = NewAgent {
            id: registration.name.clone(),
            address: registration.address.clone(),
            build: registration.build.id.clone(),
            resources: serde_json::json!({ "cores": registration.cores, "memory": registration.memory, "pid": registration.pid }),
            slots: u32::try_from(registration.slots).unwrap_or(u32::MAX),
        };
        Ok(store.register(fence, &new, now()).await?.0.epoch)
    }
    /// Writes down what happens, and lets agents leave that want to.
    pub(super) async fn chronicle(self: Arc<Self>, mut news: UnboundedReceiver<News>) {
        let mut written = 0_u32;
        while let Some(first) = news.recv().await {
            let mut all = vec![first];
            while let Ok(more) = news.try_recv() {
                all.push(more);
            }
            let events: Vec<Event> = all
                .iter()
                .map(|n| Event {
                    number: 0,
                    at: now(),
                    level: n.level,
                    job: n.job.clone(),
                    agent: n.agent.clone(),
                    message: n.message.clone(),
                })
                .collect();
            for e in &events {
                door::tell(&format!("{:7} {}", e.level.word(), e.message));
            }
            // a store that does not answer ends the server elsewhere
            let _ = self.store.log(self.fence, &events).await;
            written += events.len() as u32;
            if written > EVENTS / 10 {
                written = 0;
                let _ = self.store.trim_events(self.fence, EVENTS).await;
            }
            for n in all {
                let Some(epoch) = n.agent_changed else { continue };
                let member = self.hub.members().get(epoch).map(|m| (m.registration.name.clone(), m.standing));
                let Some((name, standing)) = member else { continue };
                let state = match standing {
                    Standing::Alive | Standing::Suspect => AgentState::Ready,
                    Standing::Draining => AgentState::Draining,
                    Standing::Lost => AgentState::Lost,
                    Standing::Left => AgentState::Left,
                };
                let _ = self.store.change_agent(self.fence, &name, epoch, state).await;
                if n.drains
                    && let Err(error) = super::flows::begin_drain(&self, &name, epoch).await
                {
                    self.hub.say(Level::Error, None, Some(&name), format!("agent `{name}` cannot be drained: {error}"));
                }
            }
        }
    }
    /// The job of a row, and its options.
    ///
    /// # Errors
    /// If it is of another build.
    pub(super) fn job_of(&self, row: &Row) -> Result<(JobSpec, RunOptions)> {
        if row.build != self.build.id {
            return Err(Error::Usage(format!(
                "job {} is of build {}, this server is build {}: stop it with a savepoint by a server of its build, then submit it from there (`--from-savepoint`)",
                row.id, row.build, self.build.id
            )));
        }
        Ok((read(&row.spec, "a job's specification")?, read(&row.options, "a job's options")?))
    }
}

/// The stages of a job at a parallelism.
///
/// # Errors
/// If it does not fit this program, or a source cannot be opened.
pub(super) fn compiled(spec: &JobSpec, options: &RunOptions, parallelism: usize) -> Result<Vec<StageShape>> {
    let options = options.clone();
    Job::from_spec(spec)?.options(move |o| *o = options).stages(parallelism)
}

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    i64::try_from(door::time_of_day().as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn read<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T> {
    T::deserialize(value).map_err(|e| Error::Control(format!("{what} in the control store makes no sense: {e}")))
}
pub(super) fn write<T: Serialize>(value: &T, what: &str) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::internal(format!("{what} cannot be written: {e}")))
}

/// A savepoint of a lead, once it is there.
///
/// # Errors
/// If it cannot be made.
pub(super) async fn given(lead: Arc<Lead>, name: &str, stop: bool) -> Result<Savepoint> {
    let ticket = lead.request_savepoint(name, stop);
    // not kept while it works, since it holds the place of the checkpoints
    let lead = {
        let weak = Arc::downgrade(&lead);
        drop(lead);
        weak
    };
    loop {
        // one that was over before it looked answers nobody
        let over = lead.upgrade().is_none_or(|lead| lead.is_over());
        if let Some(answer) = ticket.try_take() {
            return answer;
        }
        if over {
            return Err(Error::Checkpoint("the job is over".into()));
        }
        door::sleep(Duration::from_millis(10)).await;
    }
}

pub(super) use crate::cluster::door::blocking;

/// Waits between two looks.
pub(super) async fn pause() {
    door::sleep(Duration::from_millis(50)).await;
}

/// A directory of checkpoints, for messages.
pub(super) fn shown(dir: Option<&PathBuf>) -> Option<String> {
    dir.map(|d| d.display().to_string())
}
