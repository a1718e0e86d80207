//! Where data leaves: the contract that connectors fulfil and the runtime drives.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::TwoPhase;
use crate::Result;

/// A sink, opened for one job. Batches arrive dense and in source order on one instance.
///
/// A sink shows nothing until [`commit`](Self::commit): files are written beside their target and renamed. In a job that
/// keeps checkpoints, a [`TwoPhase`] sink shows its rows with each of them.
pub trait Sink: Send {
    /// Tells that the rows may never end, in a job that keeps no checkpoints: a sink that can had better show them as they come. Called
    /// before [`open`](Self::open), if at all.
    fn endless(&mut self) {}
    /// Learns the columns. Called once, before any batch, also when no batch follows.
    ///
    /// # Errors
    /// If the sink cannot store these columns, or cannot open its target.
    fn open(&mut self, schema: &SchemaRef) -> Result<()>;
    /// Stores rows.
    ///
    /// # Errors
    /// If they cannot be written; the job ends and the target is untouched.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;
    /// All rows are written: make them visible, durably.
    ///
    /// # Errors
    /// If the target cannot be put in place.
    fn commit(&mut self) -> Result<()>;
    /// The job failed or was cancelled: remove what was staged.
    fn abort(&mut self);
    /// Whether a call that failed has stored nothing and may be repeated with the same rows. Transient errors of such a sink
    /// are tried again (`RunOptions::retries`).
    fn repeatable(&self) -> bool {
        false
    }
    /// The sink as one that takes part in checkpoints, if it does.
    fn two_phase(&mut self) -> Option<&mut dyn TwoPhase> {
        None
    }
    /// A name for messages.
    fn describe(&self) -> String;
}
