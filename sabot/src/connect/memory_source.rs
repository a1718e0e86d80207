//! Batches in memory as a source.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::fit;
use crate::operator::{Read, Source, Split, SplitReader};
use crate::{Error, Result};

/// Rows of one split, whatever the sizes of the batches: what a batch holds must not decide a result.
pub(crate) const SPLIT_ROWS: u64 = 65_536;

/// Batches in memory. Cannot be sent to another process.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use sabot::connect::MemorySource;
/// use sabot::operator::{Read, Source};
///
/// # fn main() -> sabot::Result<()> {
/// let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
/// let batch = RecordBatch::try_from_iter([("n", numbers)])?;
/// let source = MemorySource::new(batch.schema(), vec![batch])?;
/// let splits = source.splits()?;
/// assert_eq!(splits.iter().filter_map(|s| s.rows).collect::<Vec<_>>(), [65_536, 34_464]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MemorySource {
    schema: SchemaRef,
    batches: Arc<Vec<RecordBatch>>,
    /// The row after the last of each batch.
    ends: Arc<Vec<u64>>,
}

impl MemorySource {
    /// A source of these batches; empty ones are left out.
    ///
    /// # Errors
    /// [`Error::Usage`] if a batch has other columns than `schema`.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self> {
        if let Some(i) = batches.iter().position(|b| b.schema_ref().fields() != schema.fields()) {
            return Err(Error::usage(format!("batch {i} of a memory source has other columns than its schema")));
        }
        let batches: Vec<RecordBatch> = batches.into_iter().filter(|b| b.num_rows() > 0).collect();
        let ends = batches.iter().scan(0, |end, b| {
            *end += b.num_rows() as u64;
            Some(*end)
        });
        let ends = Arc::new(ends.collect());
        Ok(MemorySource { schema, batches: Arc::new(batches), ends })
    }

    fn rows(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }
}

impl Source for MemorySource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        let (schema, indices) = fit::project(&self.schema, columns, "memory")?;
        self.batches = Arc::new(self.batches.iter().map(|b| b.project(&indices)).collect::<Result<_, _>>()?);
        self.schema = schema;
        Ok(())
    }

    fn bounded(&self) -> bool {
        true
    }

    fn splits(&self) -> Result<Vec<Split>> {
        let starts = (0..self.rows()).step_by(SPLIT_ROWS as usize);
        let split = |(sequence, first): (usize, u64)| {
            let rows = SPLIT_ROWS.min(self.rows() - first);
            Split { partition: 0, sequence: sequence as u64, rows: Some(rows), bytes: None, spec: first.into() }
        };
        Ok(starts.enumerate().map(split).collect())
    }

    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let first: u64 = fit::split_spec(split, "memory")?;
        let done = fit::number(position, "memory")?.unwrap_or(0);
        let end = self.rows().min(first + SPLIT_ROWS);
        if first + done > end {
            return Err(Error::Checkpoint(format!("row {done} is beyond the end of a split in memory")));
        }
        Ok(Box::new(MemoryReader { source: self.clone(), first, next: first + done, end }))
    }

    fn describe(&self) -> String {
        "memory".into()
    }
}

struct MemoryReader {
    source: MemorySource,
    first: u64,
    next: u64,
    end: u64,
}

impl SplitReader for MemoryReader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        if self.next >= self.end {
            return Ok(Read::End);
        }
        let i = self.source.ends.partition_point(|end| *end <= self.next);
        let (Some(batch), Some(batch_end)) = (self.source.batches.get(i), self.source.ends.get(i)) else {
            return Err(Error::internal("a row in memory without a batch"));
        };
        let offset = self.next - (batch_end - batch.num_rows() as u64);
        let rows = (self.end.min(*batch_end) - self.next).min(max_rows.max(1) as u64);
        self.next += rows;
        Ok(Read::Rows(batch.slice(offset as usize, rows as usize), None))
    }

    fn position(&self) -> serde_json::Value {
        (self.next - self.first).into()
    }
}
