//! Where a case's tables come from: Parquet files, or the same rows in memory.

use std::path::PathBuf;
use std::sync::Arc;

use sabot::connect::ParquetSource;
use sabot::operator::{Read, Source as _};
use sabot::prelude::*;

/// Rows of a batch in memory.
const BATCH_ROWS: usize = 65_536;

/// The directory of the files, and whether to load them first.
pub struct Place {
    /// Holds `<table>.parquet`.
    pub directory: PathBuf,
    /// Decode the files now, rather than in every run.
    pub memory: bool,
}

impl Place {
    /// A table with the columns of `R`.
    pub fn source<R: Record>(&self, table: &str) -> Result<Source<R, Bounded>> {
        let file = self.directory.join(format!("{table}.parquet")).display().to_string();
        if !self.memory {
            return Ok(parquet::<R>(&file));
        }
        let schema = sabot::record::schema_of::<R>();
        let source = ParquetSource::open(&[file], table, &schema)?;
        let mut batches = Vec::new();
        for split in source.splits()? {
            let mut reader = source.open(&split, None)?;
            while let Read::Rows(batch, _) = reader.next(BATCH_ROWS)? {
                batches.push(batch);
            }
        }
        if batches.is_empty() {
            batches.push(arrow_array::RecordBatch::new_empty(Arc::new(schema)));
        }
        Ok(Source::from(Batches(batches)))
    }
}
