//! Jobs, and what became of them.

use serde_json::Value;

use super::control::ControlStore;
use super::database::{Row, Transaction, cells};
use super::leader::Fence;
use super::{Job, JobChange, JobState};
use crate::{Error, Result};

/// A job to be submitted.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id, unique for ever.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The build that its spec is of.
    pub build: String,
    /// What runs, as data.
    pub spec: Value,
    /// How it runs.
    pub options: Value,
}

const COLUMNS: &str = "SELECT id, name, build, spec, options, state, attempt, restarts, error, created, updated FROM sabot_jobs";

fn job(row: &Row) -> Result<Job> {
    Ok(Job {
        id: row.text(0)?,
        name: row.text(1)?,
        build: row.text(2)?,
        spec: row.json(3)?,
        options: row.json(4)?,
        state: row.word(5, JobState::of)?,
        attempt: row.number(6)?,
        restarts: row.number(7)?,
        error: row.maybe_text(8)?,
        created: row.int(9)?,
        updated: row.int(10)?,
    })
}

pub(super) async fn find(tx: &mut dyn Transaction, id: &str) -> Result<Option<Job>> {
    let rows = tx.rows(&format!("{COLUMNS} WHERE id = $1"), cells![id]).await?;
    rows.first().map(job).transpose()
}

pub(super) async fn known(tx: &mut dyn Transaction, id: &str) -> Result<Job> {
    find(tx, id).await?.ok_or_else(|| Error::Control(format!("there is no job `{id}`")))
}

async fn note(tx: &mut dyn Transaction, id: &str, change: &JobChange) -> Result<()> {
    let sql = "INSERT INTO sabot_job_changes (job, number, at, state, attempt, reason) \
               SELECT $1, COUNT(*) + 1, $2, $3, $4, $5 FROM sabot_job_changes WHERE job = $1";
    tx.run(sql, cells![id, change.at, change.state.word(), change.attempt, &change.reason]).await.map(|_| ())
}

impl ControlStore {
    /// Writes a job down. A job of this id that is there already stays as it is, and is answered.
    ///
    /// # Errors
    /// If this server does not lead any more, or the id belongs to a job of another spec.
    pub async fn submit(&self, fence: Fence, new: &NewJob, at: i64) -> Result<Job> {
        let mut tx = self.write(fence).await?;
        if let Some(old) = find(&mut *tx, &new.id).await? {
            return match (&old.name, &old.build, &old.spec) == (&new.name, &new.build, &new.spec) {
                true => Ok(old),
                false => Err(Error::Control(format!("job `{}` is there already, and another: give this one another id", new.id))),
            };
        }
        let state = JobState::Submitted;
        let sql = "INSERT INTO sabot_jobs (id, name, build, spec, options, state, attempt, restarts, error, created, updated) \
                   VALUES ($1, $2, $3, $4, $5, $6, 0, 0, NULL, $7, $7)";
        tx.run(sql, cells![&new.id, &new.name, &new.build, &new.spec, &new.options, state.word(), at]).await?;
        note(&mut *tx, &new.id, &JobChange { at, state, attempt: 0, reason: "submitted".into() }).await?;
        let job = known(&mut *tx, &new.id).await?;
        tx.commit().await?;
        Ok(job)
    }
    /// A job.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn job(&self, id: &str) -> Result<Option<Job>> {
        find(&mut *self.database().read().await?, id).await
    }
    /// All jobs, the newest first.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn jobs(&self) -> Result<Vec<Job>> {
        let mut tx = self.database().read().await?;
        tx.rows(&format!("{COLUMNS} ORDER BY created DESC, id"), &[]).await?.iter().map(job).collect()
    }
    /// The states that a job had, with times and reasons, the oldest first.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn job_changes(&self, id: &str) -> Result<Vec<JobChange>> {
        let mut tx = self.database().read().await?;
        let sql = "SELECT at, state, attempt, reason FROM sabot_job_changes WHERE job = $1 ORDER BY number";
        let change =
            |row: &Row| Ok(JobChange { at: row.int(0)?, state: row.word(1, JobState::of)?, attempt: row.number(2)?, reason: row.text(3)? });
        tx.rows(sql, cells![id]).await?.iter().map(change).collect()
    }
    /// Changes a job's state, for a reason, which is its error too if it goes to `Restarting` or `Failed`; a change to `Restarting` counts as a restart.
    /// If the job is in that state, nothing changes.
    ///
    /// # Errors
    /// If it [may not](JobState::may_become) go there, is not known, or this server does not lead any more.
    pub async fn change_job(&self, fence: Fence, id: &str, state: JobState, reason: &str, at: i64) -> Result<Job> {
        let mut tx = self.write(fence).await?;
        let old = known(&mut *tx, id).await?;
        if old.state == state {
            return Ok(old);
        }
        if !old.state.may_become(state) {
            return Err(Error::Control(format!("job `{id}` is {}, and cannot become {state} ({reason})", old.state)));
        }
        let restarts = old.restarts + u32::from(state == JobState::Restarting);
        let error = if matches!(state, JobState::Restarting | JobState::Failed) { Some(reason) } else { old.error.as_deref() };
        let sql = "UPDATE sabot_jobs SET state = $2, restarts = $3, error = $4, updated = $5 WHERE id = $1";
        tx.run(sql, cells![id, state.word(), restarts, error, at]).await?;
        note(&mut *tx, id, &JobChange { at, state, attempt: old.attempt, reason: reason.to_owned() }).await?;
        let job = known(&mut *tx, id).await?;
        tx.commit().await?;
        Ok(job)
    }
    /// Keeps the stages of a job and what its steps did, as the server shows them, in place of those of an attempt before.
    ///
    /// # Errors
    /// If the job is not known, or this server does not lead any more.
    pub async fn keep_steps(&self, fence: Fence, id: &str, stages: &Value, steps: &Value) -> Result<()> {
        let mut tx = self.write(fence).await?;
        known(&mut *tx, id).await?;
        let sql = "INSERT INTO sabot_job_steps (job, stages, steps) VALUES ($1, $2, $3) \
                   ON CONFLICT (job) DO UPDATE SET stages = excluded.stages, steps = excluded.steps";
        tx.run(sql, cells![id, stages, steps]).await?;
        tx.commit().await
    }
    /// The stages of a job and what its steps did, as they were [kept](Self::keep_steps) last.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn steps(&self, id: &str) -> Result<Option<(Value, Value)>> {
        let mut tx = self.database().read().await?;
        let rows = tx.rows("SELECT stages, steps FROM sabot_job_steps WHERE job = $1", cells![id]).await?;
        rows.first().map(|row| Ok((row.json(0)?, row.json(1)?))).transpose()
    }
    /// Changes what a job runs and how, from its next attempt on: at another parallelism, or with another build.
    ///
    /// # Errors
    /// If it is not known, or this server does not lead any more.
    pub async fn respecify(&self, fence: Fence, id: &str, build: &str, spec: &Value, options: &Value, at: i64) -> Result<Job> {
        let mut tx = self.write(fence).await?;
        known(&mut *tx, id).await?;
        let sql = "UPDATE sabot_jobs SET build = $2, spec = $3, options = $4, updated = $5 WHERE id = $1";
        tx.run(sql, cells![id, build, spec, options, at]).await?;
        let job = known(&mut *tx, id).await?;
        tx.commit().await?;
        Ok(job)
    }
}
