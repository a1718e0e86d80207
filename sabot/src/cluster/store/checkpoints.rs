//! The checkpoints and savepoints of jobs.

use super::control::ControlStore;
use super::database::{Row, cells};
use super::leader::Fence;
use super::{Checkpoint, CheckpointKind, jobs};
use crate::Result;

fn checkpoint(row: &Row) -> Result<Checkpoint> {
    Ok(Checkpoint {
        number: row.number(0)?,
        kind: row.word(1, CheckpointKind::of)?,
        name: row.maybe_text(2)?,
        attempt: row.number(3)?,
        location: row.text(4)?,
        bytes: row.number(5)?,
        took: row.number(6)?,
        at: row.int(7)?,
    })
}

impl ControlStore {
    /// Notes a complete checkpoint, or a savepoint, which has the number of its checkpoint and a name. A checkpoint of this number that is there already stays
    /// as it is; of a name, the newest savepoint counts.
    ///
    /// # Errors
    /// If the job is not known, or this server does not lead any more.
    pub async fn add_checkpoint(&self, fence: Fence, job: &str, new: &Checkpoint) -> Result<()> {
        let mut tx = self.write(fence).await?;
        jobs::known(&mut *tx, job).await?;
        let sql = "INSERT INTO sabot_checkpoints (job, number, kind, name, attempt, location, bytes, took, at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (job, number) DO NOTHING";
        let savepoint = "INSERT INTO sabot_savepoints (job, name, number, attempt, location, bytes, took, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                         ON CONFLICT (job, name) DO UPDATE SET number = excluded.number, attempt = excluded.attempt, location = excluded.location, \
                         bytes = excluded.bytes, took = excluded.took, at = excluded.at";
        let Checkpoint { number, kind, name, attempt, location, bytes, took, at } = new;
        match (kind, name) {
            (CheckpointKind::Savepoint, Some(name)) => {
                tx.run(savepoint, cells![job, name, *number, *attempt, location, *bytes, *took, *at]).await?;
            }
            _ => {
                tx.run(sql, cells![job, *number, kind.word(), name.as_deref(), *attempt, location, *bytes, *took, *at]).await?;
            }
        }
        tx.commit().await
    }
    /// Forgets the checkpoint of a number, if it is there: its files are gone. Savepoints of that number stay.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn remove_checkpoint(&self, fence: Fence, job: &str, number: u64) -> Result<()> {
        let mut tx = self.write(fence).await?;
        tx.run("DELETE FROM sabot_checkpoints WHERE job = $1 AND number = $2", cells![job, number]).await?;
        tx.commit().await
    }
    /// The checkpoints and savepoints of a job, the newest first.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn checkpoints(&self, job: &str) -> Result<Vec<Checkpoint>> {
        let mut tx = self.database().read().await?;
        let sql = "SELECT number, kind, name, attempt, location, bytes, took, at FROM sabot_checkpoints WHERE job = $1 \
                   UNION ALL SELECT number, 'savepoint', name, attempt, location, bytes, took, at FROM sabot_savepoints WHERE job = $1 \
                   ORDER BY 1 DESC, 2 DESC, 3";
        tx.rows(sql, cells![job]).await?.iter().map(checkpoint).collect()
    }
}
