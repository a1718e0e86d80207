//! Agents: who is there, and who was.

use serde_json::Value;

use super::control::ControlStore;
use super::database::{AT_ONCE, Cell, Row, Transaction, cells, places};
use super::leader::Fence;
use super::{Agent, AgentState, TaskState};
use crate::{Error, Result};

/// An agent that registers.
#[derive(Clone, Debug)]
pub struct NewAgent {
    /// Its id, the same over its restarts.
    pub id: String,
    /// Where it is reached, `host:port`.
    pub address: String,
    /// Its build.
    pub build: String,
    /// Cores, memory and what else it says of itself.
    pub resources: Value,
    /// How many slots it has.
    pub slots: u32,
}

/// An attempt of a job that lost tasks with an agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bereft {
    /// The job.
    pub job: String,
    /// Its attempt.
    pub attempt: u32,
}

const COLUMNS: &str = "SELECT id, address, build, resources, slots, state, epoch, heard, \
                       (SELECT COUNT(*) FROM sabot_slots WHERE agent = sabot_agents.id) FROM sabot_agents";

fn agent(row: &Row) -> Result<Agent> {
    Ok(Agent {
        id: row.text(0)?,
        address: row.text(1)?,
        build: row.text(2)?,
        resources: row.json(3)?,
        slots: row.number(4)?,
        state: row.word(5, AgentState::of)?,
        epoch: row.number(6)?,
        heard: row.int(7)?,
        taken: row.number(8)?,
    })
}

pub(super) async fn find(tx: &mut dyn Transaction, id: &str) -> Result<Option<Agent>> {
    let rows = tx.rows(&format!("{COLUMNS} WHERE id = $1"), cells![id]).await?;
    rows.first().map(agent).transpose()
}

/// Frees the slots of an agent that is gone; whose tasks were on them.
async fn bereave(tx: &mut dyn Transaction, id: &str) -> Result<Vec<Bereft>> {
    let rows = tx.rows("SELECT DISTINCT job, attempt FROM sabot_slots WHERE agent = $1 ORDER BY job, attempt", cells![id]).await?;
    let bereft = rows.iter().map(|row| Ok(Bereft { job: row.text(0)?, attempt: row.number(1)? })).collect::<Result<Vec<_>>>()?;
    for Bereft { job, attempt } in &bereft {
        let sql = "UPDATE sabot_tasks SET state = $4 WHERE agent = $1 AND job = $2 AND attempt = $3 AND state IN ($5, $6)";
        let (lost, placed, running) = (TaskState::Lost.word(), TaskState::Placed.word(), TaskState::Running.word());
        tx.run(sql, cells![id, job, *attempt, lost, placed, running]).await?;
    }
    tx.run("DELETE FROM sabot_slots WHERE agent = $1", cells![id]).await?;
    Ok(bereft)
}

impl ControlStore {
    /// Registers an agent, new or come back: it gets an epoch greater than all before, and is ready. What it had been running is lost.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn register(&self, fence: Fence, new: &NewAgent, at: i64) -> Result<(Agent, Vec<Bereft>)> {
        let mut tx = self.write(fence).await?;
        let bereft = bereave(&mut *tx, &new.id).await?;
        let counter = "INSERT INTO sabot_counters (name, value) VALUES ('epoch', 1) \
                       ON CONFLICT (name) DO UPDATE SET value = sabot_counters.value + 1 RETURNING value";
        let rows = tx.rows(counter, &[]).await?;
        let epoch = rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(1);
        let sql = "INSERT INTO sabot_agents (id, address, build, resources, slots, state, epoch, heard) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                   ON CONFLICT (id) DO UPDATE SET address = $2, build = $3, resources = $4, slots = $5, state = $6, epoch = $7, heard = $8";
        let ready = AgentState::Ready.word();
        tx.run(sql, cells![&new.id, &new.address, &new.build, &new.resources, new.slots, ready, epoch, at]).await?;
        let agent = find(&mut *tx, &new.id).await?.ok_or_else(|| Error::internal("an agent that was just written"))?;
        tx.commit().await?;
        Ok((agent, bereft))
    }
    /// An agent.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn agent(&self, id: &str) -> Result<Option<Agent>> {
        find(&mut *self.database().read().await?, id).await
    }
    /// All agents, by id.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn agents(&self) -> Result<Vec<Agent>> {
        let mut tx = self.database().read().await?;
        tx.rows(&format!("{COLUMNS} ORDER BY id"), &[]).await?.iter().map(agent).collect()
    }
    /// Notes when agents were heard last: id, epoch, time. Heartbeats themselves are the server's business, and are noted now and then, many at once.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn heard(&self, fence: Fence, beats: &[(String, u64, i64)]) -> Result<()> {
        let mut tx = self.write(fence).await?;
        for some in beats.chunks(AT_ONCE) {
            let cells: Vec<Cell> = some.iter().flat_map(|(id, epoch, at)| cells![id, *epoch, *at].to_vec()).collect();
            let sql = format!(
                "UPDATE sabot_agents SET heard = v.column3 FROM (VALUES {}) AS v WHERE id = v.column1 AND epoch = v.column2 AND heard < v.column3",
                places(some.len(), 3, 0)
            );
            tx.run(&sql, &cells).await?;
        }
        tx.commit().await
    }
    /// Changes an agent's state. If it is `Lost` or `Left`, its slots are free, and its running tasks are lost: of these attempts.
    ///
    /// # Errors
    /// If the agent is not known or has registered anew since `epoch`, or this server does not lead any more.
    pub async fn change_agent(&self, fence: Fence, id: &str, epoch: u64, state: AgentState) -> Result<Vec<Bereft>> {
        let mut tx = self.write(fence).await?;
        match find(&mut *tx, id).await? {
            None => return Err(Error::Control(format!("there is no agent `{id}`"))),
            Some(now) if now.epoch != epoch => {
                return Err(Error::Control(format!(
                    "agent `{id}` of epoch {epoch} is gone: it has registered as epoch {} since",
                    now.epoch
                )));
            }
            Some(_) => {}
        }
        let gone = matches!(state, AgentState::Lost | AgentState::Left);
        let bereft = if gone { bereave(&mut *tx, id).await? } else { Vec::new() };
        tx.run("UPDATE sabot_agents SET state = $2 WHERE id = $1", cells![id, state.word()]).await?;
        tx.commit().await?;
        Ok(bereft)
    }
}
