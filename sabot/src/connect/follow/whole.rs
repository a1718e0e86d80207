//! Reads a file that appeared as a whole, split by split.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::connect::SourceSpec;
use crate::operator::{Read, Source, Split, SplitReader};
use crate::{Error, Result};

/// Where the reader is: in which split, and where in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Place {
    split: usize,
    at: Option<serde_json::Value>,
}

pub(super) struct WholeReader {
    source: Box<dyn Source>,
    splits: Vec<Split>,
    place: Place,
    current: Option<Box<dyn SplitReader>>,
    failed: u64,
}

impl WholeReader {
    pub(super) fn open(
        path: PathBuf,
        spec: &SourceSpec,
        (record, expected, wanted): (&str, &arrow_schema::SchemaRef, &[String]),
        position: Option<&serde_json::Value>,
    ) -> Result<Self> {
        let broken = |e| Error::Checkpoint(format!("a position in {} is broken: {e}", path.display()));
        let place: Place = position.map(Place::deserialize).transpose().map_err(broken)?.unwrap_or_default();
        let mut source = spec.of_file(&path).open(record, expected)?;
        source.project(wanted)?;
        let splits = source.splits()?;
        Ok(WholeReader { source, splits, place, current: None, failed: 0 })
    }
}

impl SplitReader for WholeReader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        loop {
            let Some(split) = self.splits.get(self.place.split) else { return Ok(Read::End) };
            let reader = match &mut self.current {
                Some(reader) => reader,
                none => none.insert(self.source.open(split, self.place.at.as_ref())?),
            };
            let read = reader.next(max_rows)?;
            self.failed += reader.take_failed();
            match read {
                Read::End => {
                    self.current = None;
                    self.place = Place { split: self.place.split + 1, at: None };
                }
                rows => {
                    self.place.at = Some(reader.position());
                    return Ok(rows);
                }
            }
        }
    }
    fn position(&self) -> serde_json::Value {
        serde_json::to_value(&self.place).unwrap_or_default()
    }
    fn take_failed(&mut self) -> u64 {
        std::mem::take(&mut self.failed)
    }
}
