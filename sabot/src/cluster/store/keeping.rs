//! What is over long since is forgotten.
//!
//! Nothing that is not over goes, and nothing that a slot, a task or an operation that runs still names.

use super::control::ControlStore;
use super::database::{Cell, Row, cells, places};
use super::leader::Fence;
use super::{JobState, Keep, OperationKind, OperationState, TaskState};
use crate::Result;

/// How many are named at once.
const AT_ONCE: u32 = 100;
/// Operations that are kept, over all jobs.
const OPERATIONS: u32 = 10_000;
/// Attempts of a job whose tasks are kept.
pub(in crate::cluster) const ATTEMPTS: u32 = 5;
/// Changes of a job's state that are kept.
const CHANGES: u32 = 1000;

fn millis(keep: &Keep) -> i64 {
    i64::try_from(keep.time.as_millis()).unwrap_or(i64::MAX)
}
fn id(row: &Row) -> Result<String> {
    row.text(0)
}

impl ControlStore {
    /// Jobs that are over and need not be kept, the oldest first: a hundred at most. Those that have slots, or an operation that runs, are none of them.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn jobs_to_forget(&self, keep: &Keep, now: i64) -> Result<Vec<String>> {
        let over: Vec<_> = JobState::ALL.iter().filter(|s| s.is_over()).map(|s| Cell::from(s.word())).collect();
        let states = places(1, over.len(), 0);
        let n = over.len();
        let sql = format!(
            "SELECT id FROM sabot_jobs WHERE state IN {states} \
             AND NOT EXISTS (SELECT 1 FROM sabot_slots WHERE sabot_slots.job = sabot_jobs.id) \
             AND NOT EXISTS (SELECT 1 FROM sabot_operations o WHERE o.job = sabot_jobs.id AND o.state = ${}) \
             AND (updated < ${} OR id NOT IN (SELECT id FROM sabot_jobs WHERE state IN {states} ORDER BY updated DESC, id LIMIT ${})) \
             ORDER BY updated, id LIMIT ${}",
            n + 1,
            n + 2,
            n + 3,
            n + 4
        );
        let mut cells = over;
        cells.extend_from_slice(cells![OperationState::Running.word(), now.saturating_sub(millis(keep)), keep.jobs, AT_ONCE]);
        self.database().read().await?.rows(&sql, &cells).await?.iter().map(id).collect()
    }
    /// Forgets a job with all that is known of it, if it is over and has no slots; whether it is gone. Its checkpoints stay where they are.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn forget_job(&self, fence: Fence, job: &str) -> Result<bool> {
        let mut tx = self.write(fence).await?;
        let known = super::jobs::find(&mut *tx, job).await?;
        let held = tx.rows("SELECT job FROM sabot_slots WHERE job = $1 LIMIT 1", cells![job]).await?;
        match known {
            None => return Ok(true),
            Some(known) if !known.state.is_over() || !held.is_empty() => return Ok(false),
            Some(_) => {}
        }
        for table in ["tasks", "job_changes", "job_steps", "checkpoints", "savepoints", "operations"] {
            tx.run(&format!("DELETE FROM sabot_{table} WHERE job = $1"), cells![job]).await?;
        }
        tx.run("DELETE FROM sabot_jobs WHERE id = $1", cells![job]).await?;
        tx.commit().await?;
        Ok(true)
    }
    /// Operations that are over and need not be kept, the oldest first: a hundred at most. That with which a job was submitted goes with its job.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn operations_to_forget(&self, keep: &Keep, now: i64) -> Result<Vec<String>> {
        let sql = "SELECT id FROM sabot_operations WHERE state <> $1 AND kind <> $2 \
                   AND (updated < $3 OR id NOT IN (SELECT id FROM sabot_operations ORDER BY updated DESC, id LIMIT $4)) ORDER BY updated, id LIMIT $5";
        let (running, submit) = (OperationState::Running.word(), OperationKind::Submit.word());
        let cells = cells![running, submit, now.saturating_sub(millis(keep)), OPERATIONS, AT_ONCE];
        self.database().read().await?.rows(sql, cells).await?.iter().map(id).collect()
    }
    /// Forgets operations that are over.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn forget_operations(&self, fence: Fence, ids: &[String]) -> Result<()> {
        let mut tx = self.write(fence).await?;
        for id in ids {
            tx.run("DELETE FROM sabot_operations WHERE id = $1 AND state <> $2", cells![id, OperationState::Running.word()]).await?;
        }
        tx.commit().await
    }
    /// Forgets tasks of all but the newest attempts of each job, and all but its newest changes.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn forget_attempts(&self, fence: Fence) -> Result<()> {
        let mut tx = self.write(fence).await?;
        let tasks = "DELETE FROM sabot_tasks WHERE attempt <= (SELECT attempt FROM sabot_jobs WHERE id = sabot_tasks.job) - $1 \
                     AND state NOT IN ($2, $3)";
        tx.run(tasks, cells![ATTEMPTS, TaskState::Placed.word(), TaskState::Running.word()]).await?;
        let changes = "DELETE FROM sabot_job_changes WHERE number <= \
                       (SELECT MAX(c.number) FROM sabot_job_changes c WHERE c.job = sabot_job_changes.job) - $1";
        tx.run(changes, cells![CHANGES]).await?;
        tx.commit().await
    }
    /// Forgets agents that were not heard since then, unless they have slots or tasks that are kept; how many.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn forget_agents(&self, fence: Fence, since: i64) -> Result<u64> {
        let mut tx = self.write(fence).await?;
        // who was there when the server died never said that it goes
        let sql = "DELETE FROM sabot_agents WHERE heard < $1 AND NOT EXISTS (SELECT 1 FROM sabot_slots WHERE agent = sabot_agents.id) \
                   AND NOT EXISTS (SELECT 1 FROM sabot_tasks WHERE agent = sabot_agents.id)";
        let gone = tx.run(sql, cells![since]).await?;
        tx.commit().await?;
        Ok(gone)
    }
}
