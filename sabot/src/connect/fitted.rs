//! Fits any source to the record that reads it.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{Schema, SchemaRef};

use super::fit;
use crate::Result;
use crate::operator::{BadRow, EventTime, Pace, Read, Source, Split, SplitReader};

/// Matches the columns of `source` by name to `expected`, those of `record`, as the file sources do.
///
/// Further columns are projected away; string, binary and dictionary encodings are converted; a null in a column that
/// the record declares without `Option` is an error at the batch that holds it.
///
/// # Errors
/// [`Error::Schema`](crate::Error::Schema) with a table of the columns that do not fit.
///
/// Example: a source of your own, in [`connect`](crate::connect).
pub fn fitted(mut source: Box<dyn Source>, record: &str, expected: &SchemaRef) -> Result<Box<dyn Source>> {
    let found = source.schema();
    fit::fit(&source.describe(), record, expected, &found)?;
    if found.fields() == expected.fields() {
        return Ok(source);
    }
    source.project(&names(expected))?;
    Ok(Box::new(Fitted { source, schema: Arc::clone(expected) }))
}

fn names(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|f| f.name().clone()).collect()
}

struct Fitted {
    source: Box<dyn Source>,
    schema: SchemaRef,
}

impl Source for Fitted {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        let (schema, _) = fit::project(&self.schema, columns, &self.describe())?;
        self.source.project(columns)?;
        self.schema = schema;
        Ok(())
    }

    fn give_bad(&mut self) -> Result<()> {
        self.source.give_bad()
    }

    fn bounded(&self) -> bool {
        self.source.bounded()
    }

    fn splits(&self) -> Result<Vec<Split>> {
        self.source.splits()
    }

    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let place = format!("{}, split {} of partition {}", self.describe(), split.sequence, split.partition);
        // Rows are counted from the reader's start, which only for a new split is the split's own.
        let from = position.map_or_else(String::new, |p| format!(" after position {p}"));
        Ok(Box::new(FittedReader { reader: self.source.open(split, position)?, schema: Arc::clone(&self.schema), place, from, done: 0 }))
    }

    fn disorder(&self) -> Option<EventTime> {
        self.source.disorder()
    }

    fn pace(&self) -> Pace {
        self.source.pace()
    }

    fn later(&self, split: Split) -> Split {
        self.source.later(split)
    }

    fn replays(&self) -> bool {
        self.source.replays()
    }

    fn rereads(&self) -> bool {
        self.source.rereads()
    }

    fn describe(&self) -> String {
        self.source.describe()
    }
}

struct FittedReader {
    reader: Box<dyn SplitReader>,
    schema: SchemaRef,
    place: String,
    from: String,
    done: u64,
}

impl SplitReader for FittedReader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        match self.reader.next(max_rows)? {
            Read::Rows(batch, watermark) => {
                let columns: &[ArrayRef] = batch.columns();
                let place = |row: usize| format!("{}, row {}{}", self.place, self.done + row as u64 + 1, self.from);
                let fitted = fit::conform(&self.schema, columns, batch.num_rows(), place)?;
                self.done += batch.num_rows() as u64;
                Ok(Read::Rows(fitted, watermark))
            }
            other => Ok(other),
        }
    }

    fn position(&self) -> serde_json::Value {
        self.reader.position()
    }

    fn take_failed(&mut self) -> u64 {
        self.reader.take_failed()
    }

    fn take_bad(&mut self) -> Vec<BadRow> {
        self.reader.take_bad()
    }
}
