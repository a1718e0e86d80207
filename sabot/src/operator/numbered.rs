//! Rows that an instance sends by its own decision: numbered in the order in which they leave, under its plan node and its own number.

use arrow_array::RecordBatch;

use super::{Instance, Output, ipc};
use crate::kernel::{Morsel, Origin};
use crate::{Error, Result};

/// In a snapshot: rows that an instance has sent.
const EMITTED: &str = "sabot.emitted";

/// Gives rows their origins.
#[derive(Debug)]
pub(super) struct Numbered(Origin);

impl Numbered {
    /// For an instance of plan node `node`.
    pub(super) fn new(node: u32, instance: Instance) -> Self {
        Numbered(Origin { source: node, partition: 0, split: instance.index as u64, row: 0 })
    }
    /// Sends rows.
    pub(super) fn emit(&mut self, batch: RecordBatch, out: &mut dyn Output) {
        let origin = self.0;
        self.0.row += batch.num_rows() as u64;
        out.emit(Morsel::new(batch, origin));
    }
    /// What a snapshot says of the rows that were sent.
    pub(super) fn tag(&self) -> (String, String) {
        (EMITTED.to_owned(), self.0.row.to_string())
    }
    /// Goes on behind the rows that were sent when this batch of a snapshot of step `step` was written.
    pub(super) fn restore(&mut self, batch: &RecordBatch, step: &str) -> Result<()> {
        let sent = ipc::tag(batch, EMITTED).and_then(|t| t.parse().ok());
        let sent: u64 = sent.ok_or_else(|| Error::Checkpoint(format!("the state of `{step}` lacks {EMITTED}")))?;
        self.0.row = self.0.row.max(sent);
        Ok(())
    }
}
