//! An agent leaves: what it runs moves first.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::actions::rescaled;
use super::core::{Core, patiently, pause, read, write};
use super::flows::{begin, ended, step};
use super::run::Run;
use crate::cluster::door;
use crate::cluster::durable::Flow;
use crate::cluster::store::{Level, OperationKind};
use crate::cluster::wire::ToAgent;
use crate::runtime::RunOptions;
use crate::{Error, Result};

/// How long an agent's tasks may take to move, until it goes all the same.
const FAREWELL: Duration = Duration::from_secs(60);

/// An agent that leaves: a process, which may have joined anew since, under another epoch.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Leaver {
    agent: String,
    pid: u32,
    /// Whether a user asked for it; else the agent itself leaves.
    asked: bool,
}

/// An agent that what runs there is to leave.
#[derive(Clone, Copy)]
pub(super) struct Off<'a> {
    leaver: &'a Leaver,
    /// How long its jobs wait for room on others.
    pub(super) patience: Duration,
}
impl Off<'_> {
    /// Its epoch, while it is there.
    pub(super) fn epoch(&self, core: &Core) -> Option<u64> {
        core.hub.leaver(&self.leaver.agent, self.leaver.pid)
    }
}

/// Begins to move what an agent runs, because a user asked for it with this key, or the agent itself.
pub(in crate::cluster) async fn begin_drain(core: &Arc<Core>, agent: &str, epoch: u64, key: Option<&str>) -> Result<String> {
    let id = key.map_or_else(|| format!("drain-{agent}-{epoch}"), |key| format!("drain-{agent}-{epoch}-{key}"));
    let pid = core.hub.members().get(epoch).map_or(0, |m| m.registration.pid);
    let leaver = Leaver { agent: agent.to_owned(), pid, asked: key.is_some() };
    core.workflows()?.start(&id, "drain", write(&leaver, "an operation")?).await?;
    begin_moving(core, &id, &leaver).await?;
    Ok(id)
}

async fn begin_moving(core: &Core, id: &str, leaver: &Leaver) -> Result<()> {
    let input = json!({ "drain": leaver.agent });
    patiently(|| begin(core, id, OperationKind::RecoverAgent, None, &input)).await.map(drop)
}

/// Moves what an agent runs, and lets it go.
pub(super) async fn drain(core: Arc<Core>, flow: Flow, leaver: Leaver) -> Result<Value> {
    begin_moving(&core, flow.id(), &leaver).await?;
    let outcome = drained(&core, &flow, &leaver).await;
    ended(&core, &flow, outcome).await
}
async fn drained(core: &Arc<Core>, flow: &Flow, leaver: &Leaver) -> Result<Value> {
    let Leaver { agent, pid, asked } = leaver;
    let off = Off { leaver, patience: if *asked { Duration::ZERO } else { FAREWELL } };
    // what this server knows of it is not that of the one before
    core.hub.lets_go(agent, *pid);
    let runs_here = |run: &Run| core.hub.leaver(agent, *pid).is_some_and(|epoch| run.holds_slots() && run.assignments.slots_on(epoch) > 0);
    // after a restart of the server nothing runs anywhere yet, and nothing will there
    let jobs: Vec<(String, usize, bool)> = step(core, flow, "find its jobs", || async {
        let runs: Vec<Arc<Run>> = core.hub.runs().values().cloned().collect();
        let mut jobs = Vec::new();
        for run in runs.iter().filter(|r| runs_here(r)) {
            let options: RunOptions = read(&core.row(&run.job).await?.options, "a job's options")?;
            jobs.push((run.job.clone(), options.threads, options.checkpoint_dir.is_some()));
        }
        Ok(jobs)
    })
    .await?;
    for (id, parallelism, kept) in &jobs {
        if *kept {
            // a job that ends meanwhile has moved too
            let moved = rescaled(core, flow, id, *parallelism, Some(off)).await;
            if let Err(error) = moved
                && !core.row(id).await?.state.is_over()
            {
                if *asked {
                    core.hub.keeps(agent, *pid);
                    return Err(error);
                }
                core.hub.say(Level::Warning, Some(id), Some(agent), error.to_string());
            }
            continue;
        }
        step(core, flow, &format!("begin {id} anew"), || async {
            if let Some(lead) = core.hub.run_of(id).filter(|r| runs_here(r)).and_then(|r| r.lead()) {
                lead.cancel(Error::io(format!("agent `{agent}`"), "was drained", std::io::ErrorKind::ConnectionReset.into()));
            }
            Ok(())
        })
        .await?;
    }
    step(core, flow, "let it go", || async {
        let since = door::now();
        loop {
            match core.hub.leaver(agent, *pid) {
                // it may not have joined this server yet
                None if core.gathers(flow.id()) => {}
                None => return Ok(()),
                Some(epoch) => {
                    let runs: Vec<Arc<Run>> = core.hub.runs().values().cloned().collect();
                    if !runs.iter().any(|r| runs_here(r)) || door::now().saturating_sub(since) > FAREWELL {
                        // who is gone need not be told
                        let _ = core.hub.tell(epoch, &ToAgent::Drained);
                    }
                }
            }
            pause().await;
        }
    })
    .await?;
    Ok(json!({ "agent": agent, "moved": jobs.len() }))
}
