//! Tasks, and the slots they are on.
//!
//! A slot of an agent belongs to one attempt of one job, or is free: the key of the table says so. A placement of an attempt is written as a whole, or not
//! at all.

use std::collections::{BTreeMap, BTreeSet};

use super::control::ControlStore;
use super::database::{AT_ONCE, Cell, Row, Transaction, cells, places};
use super::leader::Fence;
use super::{AgentState, Assignment, Placed, Task, TaskId, TaskState, agents, jobs};
use crate::{Error, Result};

const COLUMNS: &str = "SELECT attempt, stage, instance, state, error, agent, epoch, slot, reason FROM sabot_tasks";

fn task(row: &Row) -> Result<Task> {
    let id = TaskId { stage: row.number(1)?, instance: row.number(2)? };
    let placed = Assignment { task: id, agent: row.text(5)?, epoch: row.number(6)?, slot: row.number(7)?, reason: row.text(8)? };
    Ok(Task { id, attempt: row.number(0)?, state: row.word(3, TaskState::of)?, error: row.maybe_text(4)?, placed })
}

async fn of_attempt(tx: &mut dyn Transaction, job: &str, attempt: u32) -> Result<Vec<Task>> {
    let sql = format!("{COLUMNS} WHERE job = $1 AND attempt = $2 ORDER BY stage, instance");
    tx.rows(&sql, cells![job, attempt]).await?.iter().map(task).collect()
}

/// Why these slots cannot be had.
async fn refused(tx: &mut dyn Transaction, wanted: &BTreeMap<(&str, u64), BTreeSet<u32>>) -> Result<Option<String>> {
    for ((id, epoch), slots) in wanted {
        let Some(agent) = agents::find(tx, id).await? else { return Ok(Some(format!("there is no agent `{id}`"))) };
        if agent.epoch != *epoch {
            return Ok(Some(format!("agent `{id}` has registered anew (epoch {}, not {epoch})", agent.epoch)));
        }
        if agent.state != AgentState::Ready {
            return Ok(Some(format!("agent `{id}` is {}", agent.state)));
        }
        if let Some(slot) = slots.iter().find(|slot| **slot >= agent.slots) {
            return Ok(Some(format!("agent `{id}` has {} slots, and no slot {slot}", agent.slots)));
        }
        for row in tx.rows("SELECT slot, job, attempt FROM sabot_slots WHERE agent = $1 ORDER BY slot", cells![*id]).await? {
            let slot = row.number(0)?;
            if slots.contains(&slot) {
                return Ok(Some(format!("slot {slot} of agent `{id}` is taken by job `{}`, attempt {}", row.text(1)?, row.int(2)?)));
            }
        }
    }
    Ok(None)
}

impl ControlStore {
    /// Places all tasks of the next attempt of a job, which becomes the job's attempt. The attempt before has [released](ControlStore::release) its slots.
    /// If that attempt is placed already in the same way, nothing changes.
    ///
    /// # Errors
    /// If `attempt` is not the next one, it is placed otherwise, a task is named twice, or this server does not lead any more.
    pub async fn place_tasks(&self, fence: Fence, job: &str, attempt: u32, tasks: &[Assignment], at: i64) -> Result<Placed> {
        let mut tx = self.write(fence).await?;
        let known = jobs::known(&mut *tx, job).await?;
        if attempt == known.attempt && attempt > 0 {
            let mut wanted = tasks.to_vec();
            wanted.sort_by_key(|a| a.task);
            let there: Vec<_> = of_attempt(&mut *tx, job, attempt).await?.into_iter().map(|t| t.placed).collect();
            return match there == wanted {
                true => Ok(Placed::Done),
                false => Err(Error::Control(format!("attempt {attempt} of job `{job}` is placed already, and otherwise"))),
            };
        }
        if attempt != known.attempt + 1 || known.state.is_over() {
            let is = format!("the job is {} in attempt {}", known.state, known.attempt);
            return Err(Error::Control(format!("attempt {attempt} of job `{job}` cannot be placed: {is}")));
        }
        if tasks.iter().map(|a| a.task).collect::<BTreeSet<_>>().len() != tasks.len() {
            return Err(Error::Control(format!("a placement of job `{job}` names a task twice")));
        }
        let mut wanted: BTreeMap<(&str, u64), BTreeSet<u32>> = BTreeMap::new();
        for Assignment { agent, epoch, slot, .. } in tasks {
            wanted.entry((agent, *epoch)).or_default().insert(*slot);
        }
        if let Some(why) = refused(&mut *tx, &wanted).await? {
            return Ok(Placed::Refused(why));
        }
        let slots: Vec<_> = wanted.iter().flat_map(|((agent, _), slots)| slots.iter().map(|slot| (*agent, *slot))).collect();
        for some in slots.chunks(AT_ONCE) {
            let cells: Vec<Cell> = some.iter().flat_map(|(agent, slot)| cells![*agent, *slot, job, attempt].to_vec()).collect();
            tx.run(&format!("INSERT INTO sabot_slots (agent, slot, job, attempt) VALUES {}", places(some.len(), 4, 0)), &cells).await?;
        }
        for some in tasks.chunks(AT_ONCE) {
            let row = |Assignment { task, agent, epoch, slot, reason }: &Assignment| {
                cells![job, attempt, task.stage, task.instance, TaskState::Placed.word(), agent, *epoch, *slot, reason].to_vec()
            };
            let cells: Vec<Cell> = some.iter().flat_map(row).collect();
            let columns = "(job, attempt, stage, instance, state, agent, epoch, slot, reason)";
            tx.run(&format!("INSERT INTO sabot_tasks {columns} VALUES {}", places(some.len(), 9, 0)), &cells).await?;
        }
        tx.run("UPDATE sabot_jobs SET attempt = $2, updated = $3 WHERE id = $1", cells![job, attempt, at]).await?;
        tx.commit().await?;
        Ok(Placed::Done)
    }
    /// Frees the slots of an attempt, and of all before it, once nothing of it runs any more: its tasks confirmed so, or their lease is over. What was running
    /// is `Stopped`.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn release(&self, fence: Fence, job: &str, attempt: u32) -> Result<()> {
        let mut tx = self.write(fence).await?;
        tx.run("DELETE FROM sabot_slots WHERE job = $1 AND attempt <= $2", cells![job, attempt]).await?;
        let sql = "UPDATE sabot_tasks SET state = $3 WHERE job = $1 AND attempt <= $2 AND state IN ($4, $5)";
        let (stopped, placed, running) = (TaskState::Stopped.word(), TaskState::Placed.word(), TaskState::Running.word());
        tx.run(sql, cells![job, attempt, stopped, placed, running]).await?;
        tx.commit().await
    }
    /// Notes where tasks of an attempt are, all at once. A task that was ended or lost stays so.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn change_tasks(&self, fence: Fence, job: &str, attempt: u32, tasks: &[(TaskId, TaskState, Option<String>)]) -> Result<()> {
        let mut tx = self.write(fence).await?;
        // by stage, so that the table's key leads to each; Postgres would compare all with all otherwise
        let mut alike: BTreeMap<(&str, Option<&str>, u32), Vec<u32>> = BTreeMap::new();
        for (id, state, error) in tasks {
            alike.entry((state.word(), error.as_deref(), id.stage)).or_default().push(id.instance);
        }
        for ((state, error, stage), instances) in alike {
            for some in instances.chunks(AT_ONCE) {
                let mut cells = cells![job, attempt, state, error, TaskState::Placed.word(), TaskState::Running.word(), stage].to_vec();
                cells.extend(some.iter().map(|instance| Cell::from(*instance)));
                let sql = format!(
                    "UPDATE sabot_tasks SET state = $3, error = $4 WHERE job = $1 AND attempt = $2 AND state IN ($5, $6) AND stage = $7 AND instance IN {}",
                    places(1, some.len(), 7)
                );
                tx.run(&sql, &cells).await?;
            }
        }
        tx.commit().await
    }
    /// The tasks of an attempt of a job, by stage and instance; of its latest, if none is named.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn tasks(&self, job: &str, attempt: Option<u32>) -> Result<Vec<Task>> {
        let mut tx = self.database().read().await?;
        let attempt = match attempt {
            Some(attempt) => attempt,
            None => jobs::find(&mut *tx, job).await?.map_or(0, |j| j.attempt),
        };
        of_attempt(&mut *tx, job, attempt).await
    }
}
