//! Rows that a sink keeps until their checkpoint is durable, and hands to a server that stores them in one transaction, or not at all.
//!
//! The rows are part of the checkpoint, so whoever continues from it can write them again. Beside them the server stores the number of the
//! checkpoint, in the same transaction, under an identity that the sink chose when the job began. So whether they have arrived is a question that
//! the server answers, and the answer does not change.

use std::hash::{BuildHasher, RandomState};

use arrow_array::RecordBatch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};

use crate::operator::{Beginning, Prepared, Preparing, pop_batch, push_batch};
use crate::{Error, Result};

/// The rows since the last checkpoint.
#[derive(Default)]
pub(crate) struct HeldRows {
    id: String,
    batches: Vec<RecordBatch>,
}

/// What a checkpoint holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Held {
    /// The sink's identity at the server.
    pub(crate) id: String,
    /// The checkpoint that the rows belong to.
    pub(crate) epoch: u64,
    /// Batches with their lengths, in base 64.
    rows: String,
}

impl HeldRows {
    /// Begins in a job that keeps checkpoints: the identity is chosen, or that of the checkpoint. Returns the last checkpoint.
    pub(crate) fn begin(&mut self, beginning: Beginning<'_>) -> Result<u64> {
        let from = beginning.from.map(Held::read).transpose()?;
        let epoch = from.as_ref().map_or(0, |held| held.epoch);
        self.id = from.map_or_else(unique, |held| held.id);
        Ok(epoch)
    }
    /// The identity.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
    /// Keeps rows.
    pub(crate) fn push(&mut self, batch: &RecordBatch) {
        self.batches.push(batch.clone());
    }
    /// Cuts off what belongs to a checkpoint.
    pub(crate) fn prepare(&mut self, epoch: u64) -> Preparing {
        let (id, batches) = (self.id.clone(), std::mem::take(&mut self.batches));
        Preparing::new(move || {
            let mut bytes = Vec::new();
            batches.iter().try_for_each(|batch| push_batch(batch, &mut bytes))?;
            let held = Held { id, epoch, rows: BASE64.encode(bytes) };
            serde_json::to_value(held).map_err(|e| Error::internal(format!("rows of a checkpoint cannot be written: {e}")))
        })
    }
}

impl Held {
    /// What [`HeldRows::prepare`] made.
    pub(crate) fn read(prepared: &Prepared) -> Result<Self> {
        Held::deserialize(prepared).map_err(broken)
    }
    /// The rows.
    pub(crate) fn batches(&self) -> Result<Vec<RecordBatch>> {
        let bytes = BASE64.decode(&self.rows).map_err(broken)?;
        let mut rest = bytes.as_slice();
        let mut batches = Vec::new();
        while let Some(batch) = pop_batch(&mut rest)? {
            batches.push(batch);
        }
        Ok(batches)
    }
}

fn broken(e: impl std::fmt::Display) -> Error {
    Error::Checkpoint(format!("the rows of a sink are broken: {e}"))
}

/// A name that no other job has.
fn unique() -> String {
    // seeded by the system, anew each time
    let word = || RandomState::new().hash_one((std::process::id(), std::time::SystemTime::now()));
    format!("{:016x}{:016x}", word(), word())
}
