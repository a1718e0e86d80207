//! A sink as the operator at the end of a task.
//!
//! A sink that shows nothing before the job commits it is started anew by a restored job: the rows it had received are part
//! of the checkpoint, and are written again before any other. That is correct for every sink, and costs memory in
//! proportion to the output; it is only done when checkpoints are allowed. Where checkpoints are kept in a directory, a sink
//! that takes part ([`TwoPhase`](crate::operator::TwoPhase)) prepares its rows with each of them instead.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::RecordBatch;

use super::checkpoint::{Checkpoint, from_ipc, to_ipc};
use super::retry::Retry;
use super::util::lock;
use crate::kernel::{Morsel, Origin};
use crate::operator::{Account, Frozen, GroupState, Operator, Output, Pause, Prepared, Progress, Sink};
use crate::{Error, Result};

/// The state of a sink begins with what it is: rows, or what it prepared.
const ROWS: u8 = b'R';
const PREPARED: u8 = b'P';

/// The epoch of the cut after the last row; barriers count from one.
pub(super) const AT_END: u64 = 0;

fn state(kind: u8, rest: &[u8]) -> Vec<GroupState> {
    vec![GroupState { group: 0, bytes: [&[kind], rest].concat() }]
}

/// What a sink has prepared for a checkpoint.
pub(super) fn prepared_in(checkpoint: &Checkpoint, node: &str) -> Result<Option<Prepared>> {
    if checkpoint.states.iter().any(|s| s.node == node && s.stored.is_some()) {
        return Err(Error::internal(format!("what `{node}` prepared is not in the checkpoint but in a file beside it")));
    }
    let mut found = checkpoint.states.iter().filter(|s| s.node == node).filter_map(|s| s.state.bytes.strip_prefix(&[PREPARED]));
    let broken = |e| Error::Checkpoint(format!("what `{node}` prepared is broken: {e}"));
    found.next().map(|json| serde_json::from_slice(json).map_err(broken)).transpose()
}

/// A sink that its task and the job's end share.
pub(super) type SharedSink = Arc<Mutex<Box<dyn Sink>>>;

pub(super) struct SinkOperator {
    pub(super) sink: SharedSink,
    /// What was written so far, if checkpoints are allowed.
    pub(super) written: Option<Vec<RecordBatch>>,
    /// The last checkpoint that it prepared, if it takes part in them.
    pub(super) prepared: Option<u64>,
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
    fn snapshot(&mut self, epoch: u64) -> Result<Frozen> {
        let Some(last) = self.prepared else {
            let written = self.written.clone().unwrap_or_default();
            return Ok(Frozen::new(move || Ok(state(ROWS, &to_ipc(&written)?))));
        };
        let number = if epoch == AT_END { last + 1 } else { epoch };
        self.prepared = Some(number);
        let mut sink = lock(&self.sink);
        let two = sink.two_phase().ok_or_else(|| Error::internal("a sink no longer takes part in checkpoints"))?;
        let preparing = two.prepare(number, epoch == AT_END)?;
        Ok(Frozen::new(move || Ok(state(PREPARED, preparing.finish()?.to_string().as_bytes()))))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        match state.bytes.split_first() {
            Some((&ROWS, rows)) => from_ipc(rows)?.into_iter().try_for_each(|batch| self.write(batch)),
            Some((&PREPARED, _)) if self.prepared.is_some() => Ok(()),
            Some((&PREPARED, _)) => {
                let sink = lock(&self.sink).describe();
                Err(Error::Checkpoint(format!("{sink} has shown rows with it; continue the job with its directory of checkpoints")))
            }
            _ => Err(Error::Checkpoint("the rows of a sink are broken".into())),
        }
    }
}
