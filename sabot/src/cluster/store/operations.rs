//! Operations, as users follow them.

use serde_json::Value;

use super::control::ControlStore;
use super::database::{Row, Transaction, cells};
use super::leader::Fence;
use super::{Operation, OperationKind, OperationState};
use crate::{Error, Result};

const COLUMNS: &str = "SELECT id, kind, job, input, state, progress, outcome, error, created, updated FROM sabot_operations";

fn operation(row: &Row) -> Result<Operation> {
    Ok(Operation {
        id: row.text(0)?,
        kind: row.word(1, OperationKind::of)?,
        job: row.maybe_text(2)?,
        input: row.json(3)?,
        state: row.word(4, OperationState::of)?,
        progress: row.text(5)?,
        outcome: row.maybe_json(6)?,
        error: row.maybe_text(7)?,
        created: row.int(8)?,
        updated: row.int(9)?,
    })
}

async fn find(tx: &mut dyn Transaction, id: &str) -> Result<Option<Operation>> {
    let rows = tx.rows(&format!("{COLUMNS} WHERE id = $1"), cells![id]).await?;
    rows.first().map(operation).transpose()
}

impl ControlStore {
    /// Writes an operation down, running. One of this id that is there already stays as it is, and is answered.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn begin_operation(
        &self,
        fence: Fence,
        id: &str,
        kind: OperationKind,
        job: Option<&str>,
        input: &Value,
        at: i64,
    ) -> Result<Operation> {
        let mut tx = self.write(fence).await?;
        let sql = "INSERT INTO sabot_operations (id, kind, job, input, state, progress, outcome, error, created, updated) \
                   VALUES ($1, $2, $3, $4, $5, '', NULL, NULL, $6, $6) ON CONFLICT (id) DO NOTHING";
        tx.run(sql, cells![id, kind.word(), job, input, OperationState::Running.word(), at]).await?;
        let operation = find(&mut *tx, id).await?.ok_or_else(|| Error::internal("an operation that was just written"))?;
        tx.commit().await?;
        Ok(operation)
    }
    /// Says what a running operation is at.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn progress(&self, fence: Fence, id: &str, progress: &str, at: i64) -> Result<()> {
        let mut tx = self.write(fence).await?;
        let sql = "UPDATE sabot_operations SET progress = $2, updated = $3 WHERE id = $1 AND state = $4";
        tx.run(sql, cells![id, progress, at, OperationState::Running.word()]).await?;
        tx.commit().await
    }
    /// Ends a running operation: with what came out, the error it ended with, or cancelled if there is neither. One that has ended stays as it is, unless it
    /// was cancelled and went on ([`Workflows::resume`](crate::cluster::durable::Workflows::resume)).
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn end_operation(&self, fence: Fence, id: &str, ended: Option<Result<&Value, &str>>, at: i64) -> Result<()> {
        let mut tx = self.write(fence).await?;
        let (state, outcome, error) = match ended {
            Some(Ok(value)) => (OperationState::Done, Some(value), None),
            Some(Err(error)) => (OperationState::Failed, None, Some(error)),
            None => (OperationState::Cancelled, None, None),
        };
        let sql = "UPDATE sabot_operations SET state = $2, outcome = $3, error = $4, updated = $5 WHERE id = $1 AND state IN ($6, $7)";
        let (running, cancelled) = (OperationState::Running.word(), OperationState::Cancelled.word());
        tx.run(sql, cells![id, state.word(), outcome, error, at, running, cancelled]).await?;
        tx.commit().await
    }
    /// An operation.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn operation(&self, id: &str) -> Result<Option<Operation>> {
        find(&mut *self.database().read().await?, id).await
    }
    /// The latest operations, of a job or of all, the newest first.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn operations(&self, job: Option<&str>, limit: u32) -> Result<Vec<Operation>> {
        let mut tx = self.database().read().await?;
        let rows = match job {
            Some(job) => tx.rows(&format!("{COLUMNS} WHERE job = $1 ORDER BY created DESC, id LIMIT $2"), cells![job, limit]).await?,
            None => tx.rows(&format!("{COLUMNS} ORDER BY created DESC, id LIMIT $1"), cells![limit]).await?,
        };
        rows.iter().map(operation).collect()
    }
}
