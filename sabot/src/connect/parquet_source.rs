//! Parquet files as a source: one partition, split by row groups.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};

use super::parquet_error::{broken, guarded};
use super::types::{is_binary, is_string};
use super::{fit, paths};
use crate::operator::{Read, Source, Split, SplitReader};
use crate::{Error, Result};

/// Rows of one split at most. Larger row groups are cut: pyarrow writes groups of 1,048,576 rows, which would leave a
/// small file to one thread.
pub(crate) const SPLIT_ROWS: u64 = 131_072;

/// Rows decoded at a time at most, whatever the caller asks for.
const DECODED_ROWS: usize = 65_536;

/// Parquet files.
///
/// Footers are read once, when the source is opened; only the projected columns are decoded. A split is a row group,
/// or 131,072 rows of one; a position is the number of rows returned. Strings are decoded to the encoding that the record expects.
pub struct ParquetSource {
    files: Arc<Vec<ParquetFile>>,
    /// The columns to deliver.
    schema: SchemaRef,
    /// For each column to deliver, its index among the expected ones.
    projection: Vec<usize>,
    split_rows: u64,
}

/// One file, as found when the source was opened.
struct ParquetFile {
    path: PathBuf,
    size: u64,
    metadata: ArrowReaderMetadata,
    /// For each expected column, the root column of the file that holds it.
    roots: Vec<usize>,
}

/// A split as it is shipped and checkpointed.
#[derive(Serialize, Deserialize)]
struct Rows {
    path: PathBuf,
    /// The file's size when it was cut: another size means another file.
    size: u64,
    row_group: usize,
    /// First row within the row group.
    first: u64,
    rows: u64,
}

impl ParquetSource {
    /// Finds the files of `patterns`, reads their footers, and matches their columns to `expected`, those of `record`.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read, [`Error::Data`] if it is broken or no Parquet file, [`Error::Schema`] if
    /// its columns do not fit.
    pub fn open(patterns: &[String], record: &str, expected: &Schema) -> Result<Self> {
        let files = paths::expand(patterns, super::source_spec::PARQUET_EXTENSIONS)?
            .into_iter()
            .map(|path| load(path, record, expected))
            .collect::<Result<Vec<ParquetFile>>>()?;
        let projection = (0..expected.fields().len()).collect();
        Ok(ParquetSource { files: Arc::new(files), schema: Arc::new(expected.clone()), projection, split_rows: SPLIT_ROWS })
    }

    /// Cuts the row groups more finely, for tests.
    #[cfg(test)]
    pub(crate) fn split_rows(mut self, rows: u64) -> Self {
        self.split_rows = rows;
        self
    }
}

/// Reads the footer of a file.
fn load(path: PathBuf, record: &str, expected: &Schema) -> Result<ParquetFile> {
    let io = |e| Error::io(&path, "cannot open", e);
    let file = File::open(&path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let metadata = guarded(|| ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())).map_err(|e| broken(&path, "the footer", e))?;
    let roots = fit::fit(&path.display().to_string(), record, expected, metadata.schema())?;
    // The same footer, with the encodings that the record wants: strings as views are not copied while decoding.
    let fields: Vec<Field> = metadata.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    let hinted = fields.into_iter().enumerate().map(|(i, found)| {
        let wanted = roots.iter().position(|root| *root == i).and_then(|e| expected.fields().get(e));
        let hint = wanted.map(|wanted| hint(wanted.data_type(), found.data_type()));
        hint.map_or(found.clone(), |t| found.with_data_type(t))
    });
    let hinted = Arc::new(Schema::new(hinted.collect::<Vec<Field>>()));
    let metadata = if hinted.fields() == metadata.schema().fields() {
        metadata
    } else {
        let options = ArrowReaderOptions::new().with_schema(hinted);
        // An encoding that the decoder does not offer directly is converted afterwards.
        ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).unwrap_or(metadata)
    };
    Ok(ParquetFile { path, size, metadata, roots })
}

/// The type to decode to, on the way from `found` to `expected`.
fn hint(expected: &DataType, found: &DataType) -> DataType {
    match (expected, found) {
        (DataType::Dictionary(_, value), found) if is_string(found) => hint(value, found),
        (e, f) if is_string(e) && (is_string(f) || matches!(f, DataType::Dictionary(_, v) if is_string(v))) => e.clone(),
        (e, f) if is_binary(e) && is_binary(f) => e.clone(),
        (DataType::List(e), DataType::List(f)) => {
            DataType::List(Arc::new(f.as_ref().clone().with_data_type(hint(e.data_type(), f.data_type()))))
        }
        (DataType::Struct(e), DataType::Struct(f)) => DataType::Struct(
            e.iter().zip(f).map(|(e, f)| Arc::new(f.as_ref().clone().with_data_type(hint(e.data_type(), f.data_type())))).collect(),
        ),
        (_, found) => found.clone(),
    }
}

impl Source for ParquetSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        let (schema, indices) = fit::project(&self.schema, columns, &self.describe())?;
        self.projection = indices.iter().filter_map(|&i| self.projection.get(i).copied()).collect();
        self.schema = schema;
        Ok(())
    }

    fn bounded(&self) -> bool {
        true
    }

    fn splits(&self) -> Result<Vec<Split>> {
        let mut splits = Vec::new();
        for file in self.files.iter() {
            let roots = file.projected(&self.projection);
            let parquet = file.metadata.parquet_schema();
            for (row_group, group) in file.metadata.metadata().row_groups().iter().enumerate() {
                let total = u64::try_from(group.num_rows()).unwrap_or(0);
                let columns = group.columns().iter().enumerate().filter(|(leaf, _)| roots.contains(&parquet.get_column_root_idx(*leaf)));
                let bytes: u64 = columns.map(|(_, c)| u64::try_from(c.compressed_size()).unwrap_or(0)).sum();
                let mut first = 0;
                while first < total {
                    let rows = self.split_rows.min(total - first);
                    let spec = Rows { path: file.path.clone(), size: file.size, row_group, first, rows };
                    let spec =
                        serde_json::to_value(spec).map_err(|e| Error::internal(format!("a split cannot be written as JSON: {e}")))?;
                    let bytes = (u128::from(bytes) * u128::from(rows) / u128::from(total)) as u64;
                    splits.push(Split { partition: 0, sequence: splits.len() as u64, rows: Some(rows), bytes: Some(bytes), spec });
                    first += rows;
                }
            }
        }
        Ok(splits)
    }

    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let rows: Rows = fit::split_spec(split, &self.describe())?;
        let same = |f: &ParquetFile| f.path == rows.path && f.size == rows.size && rows.row_group < f.metadata.metadata().num_row_groups();
        let file = self.files.iter().position(same).ok_or_else(|| Error::Data {
            place: rows.path.display().to_string(),
            what: "the file has changed since its splits were cut; start the job anew".into(),
        })?;
        let done = fit::number(position, "a Parquet file")?.unwrap_or(0);
        if done > rows.rows {
            return Err(Error::Checkpoint(format!("row {done} is beyond the {} rows of a split of {}", rows.rows, rows.path.display())));
        }
        Ok(Box::new(ParquetReader {
            files: Arc::clone(&self.files),
            file,
            schema: Arc::clone(&self.schema),
            projection: self.projection.clone(),
            rows,
            done,
            decoder: None,
            rest: None,
        }))
    }

    fn describe(&self) -> String {
        let files: Vec<PathBuf> = self.files.iter().map(|f| f.path.clone()).collect();
        paths::describe(&files)
    }
}

impl ParquetFile {
    /// The root columns of the file that hold the columns to deliver, in the order of delivery.
    fn projected(&self, projection: &[usize]) -> Vec<usize> {
        projection.iter().filter_map(|&e| self.roots.get(e).copied()).collect()
    }

    /// Row `row` (from zero) of a row group, for messages: the number within the file, from one.
    fn place(&self, row_group: usize, row: u64) -> String {
        let before: i64 = self.metadata.metadata().row_groups().iter().take(row_group).map(|g| g.num_rows()).sum();
        format!("{}: row {}", self.path.display(), u64::try_from(before).unwrap_or(0) + row + 1)
    }
}

/// Reads some rows of one row group.
struct ParquetReader {
    files: Arc<Vec<ParquetFile>>,
    file: usize,
    schema: SchemaRef,
    projection: Vec<usize>,
    rows: Rows,
    /// Rows returned.
    done: u64,
    /// Opened at the first read.
    decoder: Option<ParquetRecordBatchReader>,
    /// Decoded rows that the caller did not want yet.
    rest: Option<RecordBatch>,
}

impl ParquetReader {
    fn decoder(&self, file: &ParquetFile, batch_rows: usize) -> Result<ParquetRecordBatchReader> {
        let input = File::open(&file.path).map_err(|e| Error::io(&file.path, "cannot open", e))?;
        let mask = ProjectionMask::roots(file.metadata.parquet_schema(), file.projected(&self.projection));
        let to_usize = |n: u64| usize::try_from(n).map_err(|_| Error::internal("a row number beyond the address space"));
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input, file.metadata.clone())
            .with_row_groups(vec![self.rows.row_group])
            .with_projection(mask)
            .with_offset(to_usize(self.rows.first + self.done)?)
            .with_limit(to_usize(self.rows.rows - self.done)?)
            .with_batch_size(batch_rows.clamp(1, DECODED_ROWS));
        guarded(|| builder.build()).map_err(|e| broken(&file.path, &format!("row group {}", self.rows.row_group), e))
    }

    /// The next decoded rows: columns in the order of the file.
    fn decode(&mut self, file: &ParquetFile, max_rows: usize) -> Result<RecordBatch> {
        if let Some(rest) = self.rest.take() {
            return Ok(rest);
        }
        let part = format!("row group {}", self.rows.row_group);
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.decoder(file, max_rows)?,
        };
        // After a panic the decoder is dropped: it is put back only once it has returned.
        let next = guarded(|| Ok((decoder.next().transpose()?, decoder))).map_err(|e| broken(&file.path, &part, e))?;
        self.decoder = Some(next.1);
        match next.0 {
            Some(batch) if batch.num_rows() > 0 => Ok(batch),
            _ => {
                let what = format!("it ended after {} of {} rows", self.done, self.rows.rows);
                Err(broken(&file.path, &part, ParquetError::General(what)))
            }
        }
    }
}

impl SplitReader for ParquetReader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        if self.done >= self.rows.rows {
            (self.decoder, self.rest) = (None, None);
            return Ok(Read::End);
        }
        let files = Arc::clone(&self.files);
        let file = files.get(self.file).ok_or_else(|| Error::internal("a Parquet reader without a file"))?;
        let mut batch = self.decode(file, max_rows)?;
        if batch.num_rows() > max_rows.max(1) {
            self.rest = Some(batch.slice(max_rows.max(1), batch.num_rows() - max_rows.max(1)));
            batch = batch.slice(0, max_rows.max(1));
        }
        let mut order = file.projected(&self.projection);
        order.sort_unstable();
        let columns: Vec<ArrayRef> = file
            .projected(&self.projection)
            .iter()
            .filter_map(|root| order.binary_search(root).ok())
            .filter_map(|i| batch.columns().get(i).map(Arc::clone))
            .collect();
        let first = self.rows.first + self.done;
        let batch = fit::conform(&self.schema, &columns, batch.num_rows(), |row| file.place(self.rows.row_group, first + row as u64))?;
        debug_assert!(batch.columns().iter().all(|c| c.len() == batch.num_rows()));
        self.done += batch.num_rows() as u64;
        Ok(Read::Rows(batch, None))
    }

    fn position(&self) -> serde_json::Value {
        self.done.into()
    }
}
