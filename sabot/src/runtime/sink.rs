//! A sink as the operator at the end of a task.
//!
//! A sink shows nothing before the job commits it, so a restored job starts it anew: the rows it had received are part
//! of the checkpoint, and are written again before any other. That is correct for every sink, and costs memory in
//! proportion to the output; it is only done when checkpoints are allowed.

use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;

use super::checkpoint::{from_ipc, to_ipc};
use super::util::lock;
use crate::Result;
use crate::kernel::Morsel;
use crate::operator::{Account, Frozen, GroupState, Operator, Output, Progress, Sink};

/// A sink that its task and the job's end share.
pub(super) type SharedSink = Arc<Mutex<Box<dyn Sink>>>;

pub(super) struct SinkOperator {
    pub(super) sink: SharedSink,
    /// What was written so far, if checkpoints are allowed.
    pub(super) written: Option<Vec<RecordBatch>>,
}

impl SinkOperator {
    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        lock(&self.sink).write(&batch)?;
        if let Some(written) = &mut self.written {
            written.push(batch);
        }
        Ok(())
    }
}

impl Operator for SinkOperator {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = morsel.compact()?;
        out.account(Account { used: batch.num_rows() as u64, ..Account::default() });
        self.write(batch)?;
        Ok(Progress::Done)
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let written = self.written.clone().unwrap_or_default();
        Ok(Frozen::new(move || Ok(vec![GroupState { group: 0, bytes: to_ipc(&written)? }])))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        from_ipc(&state.bytes)?.into_iter().try_for_each(|batch| self.write(batch))
    }
}
