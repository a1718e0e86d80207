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
use crate::runtime::RunOptions;
use crate::runtime::share::StageShape;
use crate::shuffle::flight::TicketKey;
use crate::stream::{Job, JobSpec};
use crate::{Error, Result};

/// How long agents of a server that was killed may take to join this one: they end what they ran, which may take their lease, and ask every 2 s.
const GATHERING: Duration = Duration::from_secs(10);
/// How often something is tried that a busy store, or a network, may have kept from success.
pub(super) const TRIES: u32 = 10;
/// Events that the store keeps.
const EVENTS: u32 = 20_000;

/// The server's memory, and the way to what lasts.
pub(in crate::cluster) struct Core {
    pub(in crate::cluster) build: Build,
    pub(in crate::cluster) store: Arc<ControlStore>,
    pub(in crate::cluster) fence: Fence,
    pub(in crate::cluster) hub: Arc<Hub>,
    pub(in crate::cluster) face: Face,
    pub(in crate::cluster) workflows: OnceLock<Arc<dyn Workflows>>,
}

/// What a server shows to others, and what is known when it begins.
pub(in crate::cluster) struct Face {
    pub(in crate::cluster) key: TicketKey,
    pub(in crate::cluster) ticket_key: String,
    pub(in crate::cluster) control: String,
    pub(in crate::cluster) tls: bool,
    pub(in crate::cluster) since: i64,
    /// How long a server that led before may have led beside this one.
    pub(in crate::cluster) handover: Duration,
}

impl Core {
    /// Of a server that leads. Its workflows are opened later; what happens is told to the receiver.
    ///
    /// # Errors
    /// If two operators or two pipelines have one name.
    pub(in crate::cluster) fn new(store: Arc<ControlStore>, leader: &Leader, face: Face) -> Result<(Arc<Self>, UnboundedReceiver<News>)> {
        let build = Build::this()?;
        let (sender, news) = super::hub::news();
        let fence = leader.fence();
        let hub = Hub::new(build.clone(), Arc::clone(&store), fence, sender);
        let workflows = OnceLock::new();
        Ok((Arc::new(Core { build, store, fence, hub, face, workflows }), news))
    }
    /// The engine of workflows.
    ///
    /// # Errors
    /// While the server starts.
    pub(in crate::cluster) fn workflows(&self) -> Result<&Arc<dyn Workflows>> {
        self.workflows.get().ok_or_else(|| Error::Control("the server is starting: ask again in a moment".into()))
    }
    /// Whether a workflow was begun by a server before this one.
    pub(super) fn took_over(&self, flow: &str) -> bool {
        // while the engine opens, only such run
        self.workflows.get().is_none_or(|w| w.recovered().resumed.iter().any(|id| id == flow))
    }
    /// Whether agents of the server before may be missing yet, for a workflow that was begun there.
    pub(super) fn gathers(&self, flow: &str) -> bool {
        self.hub.now() < GATHERING && self.took_over(flow)
    }
    /// Whether agents are still to join that the server before this one had when it ended.
    pub(super) async fn expects_agents(&self) -> Result<bool> {
        if self.hub.now() >= GATHERING {
            return Ok(false);
        }
        let known = self.store.agents().await?;
        let members = self.hub.members();
        let joined = |name: &str| members.all().any(|m| m.registration.name == name);
        Ok(known.iter().any(|a| a.state == AgentState::Ready && !joined(&a.id)))
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
    /// Prints what happens, at once, and has it written down.
    pub(super) async fn chronicle(self: Arc<Self>, mut news: UnboundedReceiver<News>) {
        let (printed, waiting) = tokio::sync::mpsc::unbounded_channel();
        let print = async move {
            while let Some(n) = news.recv().await {
                door::tell(&format!("{:7} {}", n.level.word(), n.message));
                if printed.send(n).is_err() {
                    return;
                }
            }
        };
        tokio::join!(print, self.write_down(waiting));
    }
    /// Writes down what happens, and lets agents leave that want to.
    async fn write_down(self: &Arc<Self>, mut news: UnboundedReceiver<News>) {
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
                    && let Err(error) = super::drain::begin_drain(self, &name, epoch, None).await
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
                "job {} is of build {}, and this server is build {}: `job upgrade` lets it go on with this one",
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

pub(super) fn read<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T> {
    T::deserialize(value).map_err(|e| Error::Control(format!("{what} in the control store makes no sense: {e}")))
}
pub(in crate::cluster) fn write<T: Serialize>(value: &T, what: &str) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::internal(format!("{what} cannot be written: {e}")))
}

/// Milliseconds since 1970.
pub(super) use crate::cluster::door::timestamp as now;

pub(super) use crate::cluster::door::blocking;

/// Does something outside a step, again while the store is busy.
///
/// # Errors
/// Its own, at last.
pub(super) async fn patiently<T, Fut: Future<Output = Result<T>>>(work: impl Fn() -> Fut) -> Result<T> {
    let mut tries = 0;
    loop {
        match work().await {
            Err(error) if error.is_transient() && tries < TRIES => {
                tries += 1;
                door::sleep(Duration::from_millis(100) * tries).await;
            }
            other => return other,
        }
    }
}

/// Waits between two looks.
pub(super) async fn pause() {
    door::sleep(Duration::from_millis(50)).await;
}

/// A directory of checkpoints, for messages.
pub(super) fn shown(dir: Option<&PathBuf>) -> Option<String> {
    dir.map(|d| d.display().to_string())
}
