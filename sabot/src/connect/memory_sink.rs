//! Collects batches in memory.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::fold::Fold;
use super::staged::not_open;
use crate::Result;
use crate::operator::{Changing, Sink, without_weights};

/// A sink that collects batches, for the process that runs the job. Of changes it collects the rows that are left at the end.
///
/// ```
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use sabot::connect::MemorySink;
/// use sabot::operator::Sink;
///
/// # fn main() -> sabot::Result<()> {
/// let column: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![1, 2]));
/// let batch = RecordBatch::try_from_iter([("n", column)])?;
/// let (mut sink, collected) = MemorySink::new();
/// sink.open(&batch.schema())?;
/// sink.write(&batch)?;
/// assert!(collected.batches().is_none(), "not committed yet");
/// sink.commit()?;
/// assert_eq!(collected.batches(), Some(vec![batch]));
/// # Ok(()) }
/// ```
pub struct MemorySink {
    staged: Option<Rows>,
    /// Of changes, what they add up to.
    fold: Option<Fold>,
    changes: bool,
    collected: Collected,
}

/// What a [`MemorySink`] has collected, once it is committed.
///
/// Example: [`MemorySink`].
#[derive(Clone, Debug, Default)]
pub struct Collected(Arc<Mutex<Option<Rows>>>);

/// Batches and their columns.
type Rows = (SchemaRef, Vec<RecordBatch>);

impl Collected {
    /// The batches in source order; `None` before the commit.
    pub fn batches(&self) -> Option<Vec<RecordBatch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, batches)| batches.clone())
    }
    /// The columns; `None` before the commit.
    pub fn schema(&self) -> Option<SchemaRef> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(schema, _)| Arc::clone(schema))
    }
}

impl MemorySink {
    /// A sink, and the handle to read from after the job.
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> (Self, Collected) {
        let collected = Collected::default();
        (MemorySink { staged: None, fold: None, changes: false, collected: collected.clone() }, collected)
    }
}

impl Sink for MemorySink {
    fn changes(&mut self, _changing: Changing<'_>) -> Result<()> {
        self.changes = true;
        Ok(())
    }
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        if self.changes {
            let bare = without_weights(&RecordBatch::new_empty(Arc::clone(schema)))?.schema();
            self.fold = Some(Fold::new(&bare)?);
            self.staged = Some((bare, Vec::new()));
            return Ok(());
        }
        self.staged = Some((Arc::clone(schema), Vec::new()));
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if let Some(fold) = &mut self.fold {
            return fold.add(batch);
        }
        let (_, batches) = self.staged.as_mut().ok_or_else(|| not_open("the memory sink"))?;
        batches.push(batch.clone());
        Ok(())
    }
    fn commit(&mut self) -> Result<()> {
        let mut staged = self.staged.take().ok_or_else(|| not_open("the memory sink"))?;
        if let Some(mut fold) = self.fold.take() {
            staged.1 = fold.finish()?;
        }
        *self.collected.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(staged);
        Ok(())
    }
    fn abort(&mut self) {
        (self.staged, self.fold) = (None, None);
    }
    fn describe(&self) -> String {
        "memory".into()
    }
}
