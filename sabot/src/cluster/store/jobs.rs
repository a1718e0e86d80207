//! Jobs, and what became of them.

use serde_json::Value;

use super::control::ControlStore;
use super::database::{Cell, Row, Transaction, cells, places};
use super::leader::Fence;
use super::{Job, JobChange, JobFilter, JobLine, JobState};
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

fn line(row: &Row) -> Result<JobLine> {
    Ok(JobLine {
        id: row.text(0)?,
        name: row.text(1)?,
        build: row.text(2)?,
        options: row.json(3)?,
        state: row.word(4, JobState::of)?,
        attempt: row.number(5)?,
        restarts: row.number(6)?,
        error: row.maybe_text(7)?,
        created: row.int(8)?,
        updated: row.int(9)?,
        checkpoint: row.maybe_number(10)?,
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
               SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4, $5 FROM sabot_job_changes WHERE job = $1";
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
    /// The jobs that fit, the newest first, without what they run.
    ///
    /// # Errors
    /// If `after` is no job; if the store does not answer.
    pub async fn list_jobs(&self, filter: &JobFilter) -> Result<Vec<JobLine>> {
        let mut tx = self.database().read().await?;
        let mut cells: Vec<Cell> = Vec::new();
        let mut wanted: Vec<String> = Vec::new();
        if !filter.states.is_empty() {
            wanted.push(format!("state IN {}", places(1, filter.states.len(), 0)));
            cells.extend(filter.states.iter().map(|s| Cell::from(s.word())));
        }
        if let Some(find) = &filter.find {
            let n = cells.len();
            // a text that is not `LIKE`, so that no character of it means anything
            wanted.push(format!("(name = ${0} OR substr(id, 1, length(CAST(${1} AS TEXT))) = ${1})", n + 1, n + 2));
            cells.extend([Cell::from(find), Cell::from(find)]);
        }
        if let Some(after) = &filter.after {
            let row = tx.rows("SELECT created FROM sabot_jobs WHERE id = $1", cells![after]).await?;
            let Some(row) = row.first() else { return Err(Error::Usage(format!("there is no job `{after}` to list others after"))) };
            let n = cells.len();
            wanted.push(format!("(created < ${0} OR (created = ${0} AND id > ${1}))", n + 1, n + 2));
            cells.extend([Cell::from(row.int(0)?), Cell::from(after)]);
        }
        let mut sql = "SELECT id, name, build, options, state, attempt, restarts, error, created, updated, \
                       (SELECT MAX(number) FROM sabot_checkpoints WHERE job = sabot_jobs.id) FROM sabot_jobs"
            .to_owned();
        if !wanted.is_empty() {
            sql += &format!(" WHERE {}", wanted.join(" AND "));
        }
        sql += " ORDER BY created DESC, id";
        if filter.limit > 0 {
            cells.push(Cell::from(filter.limit));
            sql += &format!(" LIMIT ${}", cells.len());
        }
        tx.rows(&sql, &cells).await?.iter().map(line).collect()
    }
    /// How many jobs are in each state that some are in.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn count_jobs(&self) -> Result<Vec<(JobState, u64)>> {
        let mut tx = self.database().read().await?;
        let rows = tx.rows("SELECT state, COUNT(*) FROM sabot_jobs GROUP BY state ORDER BY state", &[]).await?;
        rows.iter().map(|row| Ok((row.word(0, JobState::of)?, row.number(1)?))).collect()
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
