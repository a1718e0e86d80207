//! Files of JSON lines as a source: one partition, split by byte ranges that begin at a line.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

use super::csv_options::{Dialect, OnBadLine};
use super::csv_source::SPLIT_BYTES;
use super::csv_text::cut;
use super::json_reader::{JsonReader, Shared};
use super::json_rows::JsonRows;
use super::{fit, paths};
use crate::operator::{Source, Split, SplitReader};
use crate::{Error, Result};

/// Files with one JSON object per line, whose members are columns.
///
/// Members are found by name; further ones are passed over, and one that is missing is null. Timestamps and dates are text as JSON lines sinks
/// write it, bytes are hexadecimal, durations are numbers of units. Empty lines are passed over. A split holds the lines that begin within a range of
/// 4 MiB. A position is the byte at which the next line begins.
pub struct JsonSource {
    shared: Arc<Shared>,
    files: Vec<(PathBuf, u64)>,
    split_bytes: u64,
}

/// A split as it is shipped and checkpointed.
#[derive(Serialize, Deserialize)]
struct Range {
    path: PathBuf,
    /// The file's size when it was cut: another size means another file.
    size: u64,
    start: u64,
    end: u64,
}

impl JsonSource {
    /// Finds the files of `patterns`; `expected` are the columns of the record that reads them.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read, [`Error::Usage`] if a type cannot be read from JSON.
    pub fn open(patterns: &[String], on_bad_line: OnBadLine, expected: &SchemaRef) -> Result<Self> {
        let mut files = Vec::new();
        for path in paths::expand(patterns, super::source_spec::JSON_EXTENSIONS)? {
            let size = std::fs::metadata(&path).map_err(|e| Error::io(&path, "cannot open", e))?.len();
            files.push((path, size));
        }
        JsonRows::new(expected, &patterns.join(","))?;
        let shared = Arc::new(Shared { schema: Arc::clone(expected), on_bad_line, bad: None });
        Ok(JsonSource { shared, files, split_bytes: SPLIT_BYTES })
    }
    /// Cuts the files more finely, for tests.
    #[cfg(test)]
    pub(crate) fn split_bytes(mut self, bytes: u64) -> Self {
        self.split_bytes = bytes;
        self
    }
}

impl Source for JsonSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shared.schema)
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        let (schema, _) = fit::project(&self.shared.schema, columns, &self.describe())?;
        self.shared = Arc::new(Shared { schema, ..self.shared.as_ref().clone() });
        Ok(())
    }
    fn give_bad(&mut self) -> Result<()> {
        self.shared = Arc::new(self.shared.give_bad(&self.describe())?);
        Ok(())
    }
    fn bounded(&self) -> bool {
        true
    }
    fn splits(&self) -> Result<Vec<Split>> {
        let mut splits = Vec::new();
        // a newline within a text is written as `\n`, so every one ends a line
        let lines = Dialect { delimiter: b',', quote: None };
        for (path, size) in &self.files {
            for (start, end) in cut(path, lines, 0, *size, self.split_bytes)? {
                let range = Range { path: path.clone(), size: *size, start, end };
                let spec = serde_json::to_value(range).map_err(|e| Error::internal(format!("a split cannot be written as JSON: {e}")))?;
                splits.push(Split { partition: 0, sequence: splits.len() as u64, rows: None, bytes: Some(end - start), spec });
            }
        }
        Ok(splits)
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let range: Range = fit::split_spec(split, &self.describe())?;
        if !self.files.iter().any(|(path, size)| *path == range.path && *size == range.size) {
            let what = "the file has changed since its splits were cut; start the job anew".into();
            return Err(Error::Data { place: range.path.display().to_string(), what });
        }
        let position = fit::number(position, "a file of JSON lines")?.unwrap_or(range.start);
        if !(range.start..=range.end).contains(&position) {
            let Range { path, start, end, .. } = range;
            return Err(Error::Checkpoint(format!("byte {position} is not in the split {start}..{end} of {}", path.display())));
        }
        Ok(Box::new(JsonReader::new(Arc::clone(&self.shared), range.path, position..range.end)?))
    }
    fn describe(&self) -> String {
        let files: Vec<PathBuf> = self.files.iter().map(|f| f.0.clone()).collect();
        paths::describe(&files)
    }
}
