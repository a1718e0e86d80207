//! Round trips, broken files, positions and commits of every connector.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::clone_on_ref_ptr)]

mod bad_rows;
mod committed;
mod csv;
mod files;
mod fit;
mod follow;
#[cfg(feature = "parquet")]
mod parquet;
mod round_trip;
mod servers;
mod sinks;
mod sources;
mod two_phase;
mod upserts;

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;

use crate::Error;
use crate::operator::{Read, Source, SplitReader};

/// A schema of nullable columns.
fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
}

/// A schema of columns without nulls.
fn strict(fields: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), false)).collect::<Vec<_>>()))
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

/// Reads to the end of a split, in batches of `max_rows`.
fn drain(reader: &mut dyn SplitReader, max_rows: usize) -> crate::Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    loop {
        match reader.next(max_rows)? {
            Read::Rows(batch, _) => {
                assert!(batch.num_rows() > 0 && batch.num_rows() <= max_rows);
                batches.push(batch);
            }
            Read::Some(batch, wanted) => {
                assert!(wanted.count() > 0 && wanted.count() < batch.num_rows() && batch.num_rows() <= max_rows);
                batches.push(arrow_select::filter::filter_record_batch(&batch, &wanted.mask(batch.num_rows())).unwrap());
            }
            Read::Idle | Read::Wait => panic!("a bounded source has nothing"),
            Read::End => return Ok(batches),
        }
    }
}

/// All rows of a source as one batch.
fn read_all(source: &dyn Source, max_rows: usize) -> crate::Result<RecordBatch> {
    let mut batches = Vec::new();
    for (i, split) in source.splits()?.iter().enumerate() {
        assert_eq!(split.sequence, i as u64, "sequence numbers are dense");
        // A split survives being shipped.
        let split = serde_json::from_str(&serde_json::to_string(split).unwrap()).unwrap();
        batches.extend(drain(source.open(&split, None)?.as_mut(), max_rows)?);
    }
    for batch in &batches {
        assert_eq!(batch.schema().fields(), source.schema().fields());
    }
    Ok(concat_batches(&source.schema(), &batches)?)
}

/// Stops at every row of every split, reopens there, and checks that nothing is lost or repeated.
fn reopen_everywhere(source: &dyn Source) {
    let all = read_all(source, 1000).unwrap();
    let mut before = 0;
    for split in source.splits().unwrap() {
        let whole: usize = drain(source.open(&split, None).unwrap().as_mut(), 1000).unwrap().iter().map(RecordBatch::num_rows).sum();
        let mut reader = source.open(&split, None).unwrap();
        for row in 0..=whole {
            let rest = drain(source.open(&split, Some(&reader.position())).unwrap().as_mut(), 7).unwrap();
            let rest = concat_batches(&source.schema(), &rest).unwrap();
            assert_eq!(rest, all.slice(before + row, whole - row), "reopened before row {row}");
            if row < whole {
                assert!(matches!(reader.next(1).unwrap(), Read::Rows(b, _) if b.num_rows() == 1));
            }
        }
        assert!(matches!(reader.next(1).unwrap(), Read::End));
        before += whole;
    }
    assert_eq!(before, all.num_rows());
}

fn write(path: &Path, text: impl AsRef<[u8]>) -> String {
    std::fs::write(path, text).unwrap();
    path.display().to_string()
}

/// Place and text of a data error.
fn data_error(error: Error) -> (String, String) {
    match error {
        Error::Data { place, what } => (place, what),
        other => panic!("not a data error: {other}"),
    }
}

fn usage_error<T>(result: crate::Result<T>) -> String {
    match result {
        Err(Error::Usage(text)) => text,
        Err(other) => panic!("not a usage error: {other}"),
        Ok(_) => panic!("not an error"),
    }
}

/// Names in a directory, sorted.
fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
