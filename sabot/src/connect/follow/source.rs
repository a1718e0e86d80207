//! Finds files again and again: each is a split that does not end, or ends with the file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

use super::format::How;
use super::lines::LinesReader;
use super::whole::WholeReader;
use crate::connect::{SourceSpec, fit, paths};
use crate::kernel::hash::hash_bytes;
use crate::operator::{Pace, Source, Split, SplitReader};
use crate::{Error, Result};

/// Files that grow, and directories that get files.
///
/// Files of CSV and of JSON lines are read as they grow, from the byte on up to which they were read; a line without its end waits for it. A Parquet
/// file is read when it appears, so it must appear as a whole: write it under a name that begins with a dot, and rename it. Each file is a
/// partition of its own, with its own watermark. Files are known by their paths. One that becomes shorter, or is replaced by another, is an error;
/// one that is taken away delivers nothing more.
pub struct FollowSource {
    patterns: Vec<String>,
    extensions: &'static [&'static str],
    every: Duration,
    how: How,
    /// All columns, and those to deliver.
    all: SchemaRef,
    schema: SchemaRef,
}

/// A split as it is kept.
#[derive(Serialize, Deserialize)]
struct OneFile {
    path: PathBuf,
}

impl FollowSource {
    /// Follows the files of a source, which are looked for again after `every`.
    ///
    /// # Errors
    /// [`Error::Usage`] if the source reads no files, or its format cannot hold the columns.
    pub fn open(spec: &SourceSpec, every: Duration, record: &str, expected: &SchemaRef) -> Result<Self> {
        let how = How::new(spec, record, expected)?;
        let Some((patterns, extensions)) = spec.files() else { return Err(Error::usage("only files can be followed")) };
        let all = Arc::clone(expected);
        Ok(FollowSource { patterns: patterns.to_vec(), extensions, every, how, schema: Arc::clone(&all), all })
    }
}

impl Source for FollowSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        let (schema, _) = fit::project(&self.all, columns, &self.describe())?;
        self.how = self.how.project(&schema, columns)?;
        self.schema = schema;
        Ok(())
    }
    fn give_bad(&mut self) -> Result<()> {
        self.how = self.how.give_bad(&self.describe())?;
        Ok(())
    }
    fn bounded(&self) -> bool {
        false
    }
    fn splits(&self) -> Result<Vec<Split>> {
        let split = |path: PathBuf| {
            let sequence = hash_bytes(path.as_os_str().as_encoded_bytes());
            let spec = serde_json::to_value(OneFile { path });
            let spec = spec.map_err(|e| Error::usage(format!("the name of a file cannot be kept: {e}; rename it")))?;
            Ok(Split { partition: 0, sequence, rows: None, bytes: None, spec })
        };
        paths::present(&self.patterns, self.extensions)?.into_iter().map(split).collect()
    }
    fn pace(&self) -> Pace {
        Pace { list_again: Some(self.every), ask_again: Some(self.every) }
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let OneFile { path } = fit::split_spec(split, &self.describe())?;
        match &self.how {
            How::Lines(lines) => Ok(Box::new(LinesReader::open(path, Arc::clone(lines), position)?)),
            How::Whole { spec, record, expected, wanted } => {
                Ok(Box::new(WholeReader::open(path, spec, (record, expected, wanted), position)?))
            }
        }
    }
    fn describe(&self) -> String {
        format!("follow:{}", self.patterns.join(","))
    }
}
