//! The table `sabot_epochs`: for each sink of a job that keeps checkpoints, the last one whose rows have arrived.
//!
//! Beside the number it holds the generation of the process that writes. A process reads its row `FOR UPDATE` in the transaction in which it stores
//! rows, so one that was believed dead finds that another has taken over, and stores nothing.

use super::client::Connection;
use crate::{Error, Result};

/// Its name.
pub(super) const NAME: &str = "sabot_epochs";

/// The row of a sink.
pub(super) struct Epochs {
    /// With its schema.
    pub(super) table: String,
    pub(super) sink: String,
    pub(super) generation: i64,
}

impl Epochs {
    /// Creates the table if it is missing, and takes over the sink's row. `epoch` is what the checkpoint says that has arrived, at least.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if more has arrived, or a later process is at work.
    pub(super) fn begin(&self, connection: &Connection, epoch: i64) -> Result<()> {
        let (table, what) = (&self.table, "cannot note which checkpoints have arrived");
        let found = connection.query("SELECT to_regclass($1) IS NOT NULL", &[table], what)?;
        if !found.first().is_some_and(|r| r.get(0)) {
            // Two at once would both find it missing.
            let create = format!(
                "BEGIN; SELECT pg_advisory_xact_lock(hashtext('{NAME}')); \
                 CREATE TABLE IF NOT EXISTS {table} (sink text PRIMARY KEY, epoch bigint NOT NULL, generation bigint NOT NULL, \
                 changed timestamptz NOT NULL DEFAULT now()); COMMIT"
            );
            connection.batch(&create, what)?;
        }
        if epoch == 0 {
            let add = format!("INSERT INTO {table} (sink, epoch, generation) VALUES ($1, 0, $2) ON CONFLICT (sink) DO NOTHING");
            connection.execute(&add, &[&self.sink, &self.generation], what)?;
        }
        let take = format!("UPDATE {table} SET generation = greatest(generation, $2) WHERE sink = $1 RETURNING epoch, generation");
        let rows = connection.query(&take, &[&self.sink, &self.generation], what)?;
        let Some(row) = rows.first() else { return Err(self.gone()) };
        let (stored, generation): (i64, i64) = (row.get(0), row.get(1));
        if stored > epoch {
            return Err(Error::Checkpoint(format!(
                "the database has the rows of checkpoint {stored}, but the job continues from {epoch}: rows would be there twice"
            )));
        }
        self.mine(generation)
    }
    /// Within a transaction: the last checkpoint that has arrived. No one else changes it until the transaction ends.
    pub(super) fn arrived(&self, connection: &Connection) -> Result<i64> {
        let sql = format!("SELECT epoch, generation FROM {} WHERE sink = $1 FOR UPDATE", self.table);
        let rows = connection.query(&sql, &[&self.sink], "cannot read which checkpoints have arrived")?;
        let Some(row) = rows.first() else { return Err(self.gone()) };
        self.mine(row.get(1))?;
        Ok(row.get(0))
    }
    /// Within a transaction: notes that a checkpoint has arrived.
    pub(super) fn arrive(&self, connection: &Connection, epoch: i64) -> Result<()> {
        let sql = format!("UPDATE {} SET epoch = $2, changed = now() WHERE sink = $1", self.table);
        connection.execute(&sql, &[&self.sink, &epoch], "cannot note which checkpoints have arrived").map(|_| ())
    }
    fn mine(&self, generation: i64) -> Result<()> {
        if generation == self.generation {
            return Ok(());
        }
        Err(Error::Checkpoint(format!(
            "another process (number {generation}) has taken over the job from this one (number {})",
            self.generation
        )))
    }
    fn gone(&self) -> Error {
        Error::Checkpoint(format!("`{}` has no row `{}`: which rows of the job have arrived is not known", self.table, self.sink))
    }
}
