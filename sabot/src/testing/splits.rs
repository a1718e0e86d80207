//! Rows in memory, cut into small splits.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::operator::{Read, Source as Opened, Split, SplitReader};
use crate::record::{Named, to_batch};
use crate::stream::{Bounded, Source};
use crate::{Error, Result};

/// Rows as a bounded source whose splits have `per_split` rows each, so that small data meets what large data meets:
/// several instances that read, partial results that merge, rows that must be put back into order.
///
/// Example: [`Trial`](super::Trial).
pub fn splits<R: Named>(rows: &[R], per_split: usize) -> Source<R, Bounded> {
    let batch = to_batch(rows);
    Source::custom_bounded(move || Ok(Splits { batch: batch.clone(), per_split: per_split.max(1) }))
}

#[derive(Clone)]
struct Splits {
    batch: RecordBatch,
    per_split: usize,
}

impl Opened for Splits {
    fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        let schema = self.batch.schema();
        let at = columns.iter().map(|c| schema.index_of(c)).collect::<Result<Vec<_>, _>>()?;
        self.batch = self.batch.project(&at)?;
        Ok(())
    }
    fn bounded(&self) -> bool {
        true
    }
    fn splits(&self) -> Result<Vec<Split>> {
        let split = |(sequence, first): (usize, usize)| Split {
            partition: 0,
            sequence: sequence as u64,
            rows: Some(self.per_split.min(self.batch.num_rows() - first) as u64),
            bytes: None,
            spec: first.into(),
        };
        Ok((0..self.batch.num_rows()).step_by(self.per_split).enumerate().map(split).collect())
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let number = |v: &serde_json::Value| v.as_u64().map(|v| v as usize).ok_or_else(|| Error::Checkpoint("not a row number".into()));
        let first = number(&split.spec)?;
        let end = self.batch.num_rows().min(first + self.per_split);
        let next = position.map_or(Ok(first), number)?;
        Ok(Box::new(Reader { batch: self.batch.clone(), next, end }))
    }
    fn describe(&self) -> String {
        "rows of a test".into()
    }
}

struct Reader {
    batch: RecordBatch,
    next: usize,
    end: usize,
}

impl SplitReader for Reader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        let rows = max_rows.max(1).min(self.end.saturating_sub(self.next));
        if rows == 0 {
            return Ok(Read::End);
        }
        self.next += rows;
        Ok(Read::Rows(self.batch.slice(self.next - rows, rows), None))
    }
    fn position(&self) -> serde_json::Value {
        self.next.into()
    }
}
