//! A sink as the operator at the end of a task.
//!
//! A sink shows nothing before the job commits it, so a restored job starts it anew: the rows it had received are part
//! of the checkpoint, and are written again before any other. That is correct for every sink, and costs memory in
//! proportion to the output; it is only done when checkpoints are allowed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::RecordBatch;

use super::checkpoint::{from_ipc, to_ipc};
use super::retry::Retry;
use super::util::lock;
use crate::Result;
use crate::kernel::{Morsel, Origin};
use crate::operator::{Account, Frozen, GroupState, Operator, Output, Pause, Progress, Sink};

/// A sink that its task and the job's end share.
pub(super) type SharedSink = Arc<Mutex<Box<dyn Sink>>>;

pub(super) struct SinkOperator {
    pub(super) sink: SharedSink,
    /// What was written so far, if checkpoints are allowed.
    pub(super) written: Option<Vec<RecordBatch>>,
    /// Bytes of that.
    pub(super) kept: usize,
    /// How often to try again, and the first wait.
    pub(super) patience: (u32, Duration),
    pub(super) retry: Retry,
    /// Rows that could not be written yet, and how long to wait.
    pub(super) waiting: Option<RecordBatch>,
    pub(super) pause: Option<Pause>,
}

impl SinkOperator {
    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        lock(&self.sink).write(&batch)?;
        self.wrote(batch);
        Ok(())
    }
    /// Writes rows now, or puts them by until a transient error may have passed.
    fn attempt(&mut self, batch: RecordBatch) -> Result<Progress> {
        let mut sink = lock(&self.sink);
        if let Err(error) = sink.write(&batch) {
            if !sink.repeatable() {
                return Err(error);
            }
            self.pause = Some(self.retry.pause(&sink.describe(), error, self.patience)?);
            self.waiting = Some(batch);
            return Ok(Progress::More);
        }
        drop(sink);
        self.retry.over();
        self.wrote(batch);
        Ok(Progress::Done)
    }
    fn wrote(&mut self, batch: RecordBatch) {
        if let Some(written) = &mut self.written {
            self.kept += Morsel::new(batch.clone(), Origin::default()).bytes();
            written.push(batch);
        }
    }
}

impl Operator for SinkOperator {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = morsel.compact()?;
        out.account(Account { used: batch.num_rows() as u64, ..Account::default() });
        self.attempt(batch)
    }
    fn resume(&mut self, _out: &mut dyn Output) -> Result<Progress> {
        match self.waiting.take() {
            Some(batch) => self.attempt(batch),
            None => Ok(Progress::Done),
        }
    }
    fn pause(&mut self) -> Option<Pause> {
        self.pause.take()
    }
    /// What is kept for checkpoints.
    fn held_bytes(&self) -> usize {
        self.kept
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let written = self.written.clone().unwrap_or_default();
        Ok(Frozen::new(move || Ok(vec![GroupState { group: 0, bytes: to_ipc(&written)? }])))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        from_ipc(&state.bytes)?.into_iter().try_for_each(|batch| self.write(batch))
    }
}
