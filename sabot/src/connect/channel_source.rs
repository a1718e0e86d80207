//! Batches that another thread of this process sends, as a source.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::fit;
use crate::operator::{Read, Source, Split, SplitReader};
use crate::{Error, Result};

/// Batches that another thread sends: a source that ends when the senders are gone.
///
/// The sender waits while as many batches as the channel holds have not been read. What has been read cannot be read again, so jobs that keep
/// checkpoints refuse it.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use sabot::connect::ChannelSource;
/// use sabot::operator::{Read, Source};
///
/// # fn main() -> sabot::Result<()> {
/// let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// let batch = RecordBatch::try_from_iter([("n", column)])?;
/// let (sender, source) = ChannelSource::new(batch.schema(), 4);
/// let mut reader = source.open(&source.splits()?.remove(0), None)?;
/// assert!(matches!(reader.next(2)?, Read::Idle));
/// sender.send(batch).unwrap();
/// assert!(matches!(reader.next(2)?, Read::Rows(batch, None) if batch.num_rows() == 2));
/// drop(sender);
/// assert!(matches!(reader.next(2)?, Read::Rows(batch, None) if batch.num_rows() == 1));
/// assert!(matches!(reader.next(2)?, Read::End));
/// # Ok(()) }
/// ```
pub struct ChannelSource {
    all: SchemaRef,
    schema: SchemaRef,
    indices: Option<Vec<usize>>,
    receiver: Mutex<Option<Receiver<RecordBatch>>>,
}

impl ChannelSource {
    /// A channel that holds so many batches, at least one, of these columns.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(schema: SchemaRef, batches: usize) -> (SyncSender<RecordBatch>, Self) {
        let (sender, receiver) = sync_channel(batches.max(1));
        (sender, ChannelSource { all: SchemaRef::clone(&schema), schema, indices: None, receiver: Mutex::new(Some(receiver)) })
    }
}

impl Source for ChannelSource {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        let (schema, indices) = fit::project(&self.all, columns, &self.describe())?;
        (self.schema, self.indices) = (schema, Some(indices));
        Ok(())
    }
    fn bounded(&self) -> bool {
        false
    }
    fn splits(&self) -> Result<Vec<Split>> {
        Ok(vec![Split { partition: 0, sequence: 0, rows: None, bytes: None, spec: serde_json::Value::Null }])
    }
    fn open(&self, _split: &Split, _position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let receiver = receiver.ok_or_else(|| Error::usage("a channel is read by one job, once"))?;
        Ok(Box::new(ChannelReader { all: SchemaRef::clone(&self.all), indices: self.indices.clone(), receiver, rest: None, rows: 0 }))
    }
    fn replays(&self) -> bool {
        false
    }
    fn describe(&self) -> String {
        "a channel".into()
    }
}

struct ChannelReader {
    all: SchemaRef,
    indices: Option<Vec<usize>>,
    receiver: Receiver<RecordBatch>,
    /// What is left of a batch.
    rest: Option<RecordBatch>,
    rows: u64,
}

impl SplitReader for ChannelReader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self.receiver.try_recv() {
                Ok(batch) if batch.schema_ref().fields() != self.all.fields() => {
                    let what = "a batch was sent that has other columns than the channel".into();
                    return Err(Error::Data { place: format!("a channel, row {}", self.rows), what });
                }
                Ok(batch) => batch,
                Err(TryRecvError::Empty) => return Ok(Read::Idle),
                Err(TryRecvError::Disconnected) => return Ok(Read::End),
            },
        };
        let rows = batch.num_rows().min(max_rows.max(1));
        self.rest = (rows < batch.num_rows()).then(|| batch.slice(rows, batch.num_rows() - rows));
        self.rows += rows as u64;
        let batch = batch.slice(0, rows);
        Ok(Read::Rows(
            match &self.indices {
                Some(indices) => batch.project(indices)?,
                None => batch,
            },
            None,
        ))
    }
    fn position(&self) -> serde_json::Value {
        self.rows.into()
    }
}
