//! Anything that yields batches as a bounded source.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::fit;
use crate::operator::{Read, Source, Split, SplitReader};
use crate::{Error, Result};

/// What the function of [`from_reader`] returns.
///
/// Example: [`from_reader`].
pub type BatchIterator = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A bounded source of whatever batches `open` yields: the shortest way to a source of your own.
///
/// It is one split, read by one thread at a time. `open` is called anew for every reader and must yield the same rows
/// each time: a reader that continues at a position skips the rows before it.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use arrow_schema::{DataType, Field, Schema};
/// use sabot::connect::from_reader;
/// use sabot::operator::{Read, Source};
///
/// # fn main() -> sabot::Result<()> {
/// let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
/// let columns = schema.clone();
/// let source = from_reader("squares", schema, move || {
///     let columns = columns.clone();
///     Ok(Box::new((0..3).map(move |n| {
///         let column: ArrayRef = Arc::new(Int64Array::from(vec![n * n]));
///         Ok(RecordBatch::try_new(columns.clone(), vec![column])?)
///     })))
/// });
/// let split = source.splits()?.remove(0);
/// let mut reader = source.open(&split, None)?;
/// assert!(matches!(reader.next(1024)?, Read::Rows(..)));
/// # Ok(()) }
/// ```
pub fn from_reader(
    name: impl Into<String>,
    schema: SchemaRef,
    open: impl Fn() -> Result<BatchIterator> + Send + Sync + 'static,
) -> ReaderSource {
    let all = Arc::clone(&schema);
    ReaderSource { name: name.into(), all, schema, indices: None, open: Arc::new(open) }
}

/// The source made by [`from_reader`].
///
/// Example: [`from_reader`].
#[derive(Clone)]
pub struct ReaderSource {
    name: String,
    /// The columns of the batches.
    all: SchemaRef,
    /// The columns to deliver.
    schema: SchemaRef,
    indices: Option<Vec<usize>>,
    open: Arc<dyn Fn() -> Result<BatchIterator> + Send + Sync>,
}

impl Source for ReaderSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        let (schema, indices) = fit::project(&self.all, columns, &self.name)?;
        (self.schema, self.indices) = (schema, Some(indices));
        Ok(())
    }

    fn bounded(&self) -> bool {
        true
    }

    fn splits(&self) -> Result<Vec<Split>> {
        Ok(vec![Split { partition: 0, sequence: 0, rows: None, bytes: None, spec: serde_json::Value::Null }])
    }

    fn open(&self, _split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let skip = fit::number(position, &self.name)?.unwrap_or(0);
        Ok(Box::new(BatchReader { batches: (self.open)()?, source: self.clone(), rest: None, skip, done: skip }))
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

struct BatchReader {
    batches: BatchIterator,
    source: ReaderSource,
    /// Rows that the caller did not want yet.
    rest: Option<RecordBatch>,
    /// Rows still to pass over.
    skip: u64,
    done: u64,
}

impl BatchReader {
    fn pull(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.batches.next().transpose()? else { return Ok(None) };
        if batch.schema_ref().fields() != self.source.all.fields() {
            let what = "a batch has other columns than the source declared".into();
            return Err(Error::Data { place: self.source.name.clone(), what });
        }
        Ok(Some(match &self.source.indices {
            Some(indices) => batch.project(indices)?,
            None => batch,
        }))
    }
}

impl SplitReader for BatchReader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        loop {
            let batch = match self.rest.take() {
                Some(batch) => batch,
                None => match self.pull()? {
                    Some(batch) => batch,
                    None if self.skip > 0 => {
                        let what = format!(
                            "it ended {} rows before the position to continue from: it must yield the same rows each time",
                            self.skip
                        );
                        return Err(Error::Data { place: self.source.name.clone(), what });
                    }
                    None => return Ok(Read::End),
                },
            };
            let rows = batch.num_rows();
            let skipped = usize::try_from(self.skip).unwrap_or(rows).min(rows);
            self.skip -= skipped as u64;
            if skipped == rows {
                continue;
            }
            let take = (rows - skipped).min(max_rows.max(1));
            if skipped + take < rows {
                self.rest = Some(batch.slice(skipped + take, rows - skipped - take));
            }
            self.done += take as u64;
            return Ok(Read::Rows(batch.slice(skipped, take), None));
        }
    }

    fn position(&self) -> serde_json::Value {
        self.done.into()
    }
}
