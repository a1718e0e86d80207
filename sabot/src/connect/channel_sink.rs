//! Batches to another thread of this process, as a sink.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::operator::Sink;
use crate::{Error, Result};

/// Batches to another thread, as they come.
///
/// The job waits while as many batches as the channel holds have not been taken, so they must be taken while it runs. The channel ends with the
/// job; whether all rows were there, the job's result says. A job that keeps checkpoints and never ends refuses it, since rows that were
/// taken cannot be taken back; one that ends may send a row again after it was continued.
///
/// ```
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use sabot::connect::ChannelSink;
/// use sabot::operator::Sink;
///
/// # fn main() -> sabot::Result<()> {
/// let column: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![1, 2]));
/// let batch = RecordBatch::try_from_iter([("n", column)])?;
/// let (mut sink, receiver) = ChannelSink::new(4);
/// sink.open(&batch.schema())?;
/// sink.write(&batch)?;
/// sink.commit()?;
/// assert_eq!(receiver.iter().collect::<Vec<_>>(), [batch]);
/// # Ok(()) }
/// ```
pub struct ChannelSink {
    sender: Option<SyncSender<RecordBatch>>,
}

impl ChannelSink {
    /// A channel that holds so many batches, at least one.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(batches: usize) -> (Self, Receiver<RecordBatch>) {
        let (sender, receiver) = sync_channel(batches.max(1));
        (ChannelSink { sender: Some(sender) }, receiver)
    }
}

impl Sink for ChannelSink {
    fn open(&mut self, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let sender = self.sender.as_ref().ok_or_else(|| Error::internal("a channel was closed before the job was over"))?;
        sender.send(batch.clone()).map_err(|_| Error::usage("nobody takes the rows of a channel any more: its receiver is gone"))
    }
    fn commit(&mut self) -> Result<()> {
        self.sender = None;
        Ok(())
    }
    fn abort(&mut self) {
        self.sender = None;
    }
    fn describe(&self) -> String {
        "a channel".into()
    }
}
