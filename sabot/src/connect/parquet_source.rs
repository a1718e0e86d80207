//! Parquet files as a source: one partition, split by row groups.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader, RowGroupMetaData};
use serde::{Deserialize, Serialize};

use super::parquet_error::{broken, guarded};
use super::parquet_reader::ParquetReader;
use super::parquet_sieve::Sieve;
use super::types::{is_binary, is_string};
use super::{fit, parquet_bloom, parquet_ranges, paths};
use crate::kernel::Predicate;
use crate::operator::{Source, Split, SplitReader};
use crate::{Error, Result};

/// Row groups are cut, but into no splits of fewer rows: pyarrow writes groups of 1,048,576 rows, which would leave a
/// small file to one thread.
pub(crate) const SPLIT_ROWS: u64 = 131_072;
/// Nor into more splits than these, all files together: each split of a row group decodes its dictionaries anew, and walks over the pages
/// before it. Eight splits per group instead of two cost a tenth of the processor time of `group_k_low` in bench `engine`.
const SPLITS: u64 = 16;

/// Parquet files.
///
/// Footers are read once, when the source is opened; only the projected columns are decoded. A split is a row group,
/// or 131,072 rows of one or more; a position is the number of rows returned. Strings are decoded to the encoding that the record expects.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use sabot::connect::{ParquetSink, ParquetSource};
/// use sabot::operator::{Read, Sink, Source};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
/// let batch = RecordBatch::try_from_iter([("n", numbers)])?;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("numbers.parquet");
/// let mut sink = ParquetSink::new(&path);
/// sink.open(&batch.schema())?;
/// sink.write(&batch)?;
/// sink.commit()?;
/// let source = ParquetSource::open(&[path.display().to_string()], "Number", &batch.schema())?;
/// let mut reader = source.open(&source.splits()?[0], None)?;
/// assert!(matches!(reader.next(100)?, Read::Rows(rows, _) if rows == batch));
/// # Ok(()) }
/// ```
pub struct ParquetSource {
    files: Arc<Vec<ParquetFile>>,
    /// The columns to deliver.
    schema: SchemaRef,
    /// For each column to deliver, its index among the expected ones.
    projection: Vec<usize>,
    split_rows: u64,
}

/// One file, as found when the source was opened.
pub(super) struct ParquetFile {
    pub(super) path: PathBuf,
    size: u64,
    pub(super) metadata: ArrowReaderMetadata,
    /// For each expected column, the root column of the file that holds it.
    roots: Vec<usize>,
    /// For each row group the ranges of rows to deliver; empty if all are.
    kept: Vec<Ranges>,
    /// Tells which rows of them are wanted.
    pub(super) sieve: Option<Sieve>,
}

/// Ranges of rows (first, after the last) of a row group, in order.
type Ranges = Vec<(u64, u64)>;

/// A split as it is shipped and checkpointed.
#[derive(Serialize, Deserialize)]
pub(super) struct Rows {
    path: PathBuf,
    /// The file's size when it was cut: another size means another file.
    size: u64,
    pub(super) row_group: usize,
    /// First row within the row group.
    pub(super) first: u64,
    pub(super) rows: u64,
    /// The ranges of the row group to deliver, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<Ranges>,
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
    Ok(ParquetFile { path, size, metadata, roots, kept: Vec::new(), sieve: None })
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

    /// Row groups and pages whose statistics or bloom filters exclude the predicate are left out. Within the others rows are, where few of
    /// them are wanted: the predicate's columns are decoded first, and of the others the rows that they leave.
    fn leave_out(&mut self, predicate: &Predicate) -> Result<()> {
        let mut files = Vec::with_capacity(self.files.len());
        for file in self.files.iter() {
            files.push(file.leaving_out(predicate)?);
        }
        self.files = Arc::new(files);
        Ok(())
    }

    fn bounded(&self) -> bool {
        true
    }

    fn splits(&self) -> Result<Vec<Split>> {
        let mut splits = Vec::new();
        let rows_of = |group: &RowGroupMetaData| u64::try_from(group.num_rows()).unwrap_or(0);
        let whole: u64 = self.files.iter().flat_map(|f| f.metadata.metadata().row_groups()).map(rows_of).sum();
        let least = self.split_rows.max(whole / SPLITS);
        for file in self.files.iter() {
            let roots = file.projected(&self.projection);
            let parquet = file.metadata.parquet_schema();
            for (row_group, group) in file.metadata.metadata().row_groups().iter().enumerate() {
                let total = rows_of(group);
                let most = total.div_ceil(total.div_ceil(least).max(1));
                let columns = group.columns().iter().enumerate().filter(|(leaf, _)| roots.contains(&parquet.get_column_root_idx(*leaf)));
                let bytes: u64 = columns.map(|(_, c)| u64::try_from(c.compressed_size()).unwrap_or(0)).sum();
                let mut first = 0;
                while first < total {
                    let rows = most.min(total - first);
                    let kept = file.kept.get(row_group).map(|ranges| within(ranges, first, first + rows));
                    let wanted = kept.as_ref().map_or(rows, |ranges| ranges.iter().map(|(from, to)| to - from).sum());
                    let spec = Rows { path: file.path.clone(), size: file.size, row_group, first, rows, kept };
                    let spec =
                        serde_json::to_value(spec).map_err(|e| Error::internal(format!("a split cannot be written as JSON: {e}")))?;
                    let bytes = (u128::from(bytes) * u128::from(wanted) / u128::from(total)) as u64;
                    splits.push(Split { partition: 0, sequence: splits.len() as u64, rows: Some(wanted), bytes: Some(bytes), spec });
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
        let all = vec![(rows.first, rows.first + rows.rows)];
        let kept = rows.kept.as_ref().unwrap_or(&all).iter().map(|(from, to)| (from - rows.first, to - rows.first)).collect();
        let (schema, projection) = (Arc::clone(&self.schema), self.projection.clone());
        Ok(Box::new(ParquetReader::new(Arc::clone(&self.files), file, schema, projection, rows, done, kept)))
    }

    fn describe(&self) -> String {
        let files: Vec<PathBuf> = self.files.iter().map(|f| f.path.clone()).collect();
        paths::describe(&files)
    }
}

impl ParquetFile {
    /// The root columns of the file that hold the columns to deliver, in the order of delivery.
    pub(super) fn projected(&self, projection: &[usize]) -> Vec<usize> {
        projection.iter().filter_map(|&e| self.roots.get(e).copied()).collect()
    }

    /// The same file without the rows for which the predicate is certainly not true.
    fn leaving_out(&self, predicate: &Predicate) -> Result<ParquetFile> {
        let footer = |e| broken(&self.path, "the footer", e);
        let io = |e| Error::io(&self.path, "cannot open", e);
        let input = File::open(&self.path).map_err(io)?;
        let metadata = guarded(|| {
            let footer = self.metadata.metadata().as_ref().clone();
            let mut reader = ParquetMetaDataReader::new_with_metadata(footer).with_page_index_policy(PageIndexPolicy::Optional);
            reader.read_page_indexes(&input)?;
            let options = ArrowReaderOptions::new().with_schema(Arc::clone(self.metadata.schema()));
            ArrowReaderMetadata::try_new(Arc::new(reader.finish()?), options)
        })
        .map_err(footer)?;
        let mut kept = Vec::new();
        for row_group in 0..metadata.metadata().num_row_groups() {
            let selection = guarded(|| parquet_ranges::kept(&metadata, row_group, predicate)).map_err(footer)?;
            let excluded = selection.selects_any()
                && guarded(|| parquet_bloom::excludes(&input, &metadata, row_group, predicate))
                    .map_err(|e| broken(&self.path, &format!("a bloom filter of row group {row_group}"), e))?;
            if excluded {
                kept.push(Ranges::new());
                continue;
            }
            let (mut ranges, mut at) = (Ranges::new(), 0);
            for selector in selection.iter() {
                let to = at + selector.row_count as u64;
                if !selector.skip && to > at {
                    ranges.push((at, to));
                }
                at = to;
            }
            kept.push(ranges);
        }
        let sieve = Sieve::new(&metadata, predicate);
        Ok(ParquetFile { path: self.path.clone(), size: self.size, metadata, roots: self.roots.clone(), kept, sieve })
    }

    /// Row `row` (from zero) of a row group, for messages: the number within the file, from one.
    pub(super) fn place(&self, row_group: usize, row: u64) -> String {
        let before: i64 = self.metadata.metadata().row_groups().iter().take(row_group).map(|g| g.num_rows()).sum();
        format!("{}: row {}", self.path.display(), u64::try_from(before).unwrap_or(0) + row + 1)
    }
}

/// The parts of ranges between two rows.
fn within(ranges: &Ranges, from: u64, to: u64) -> Ranges {
    ranges.iter().map(|(a, b)| (*a.max(&from), *b.min(&to))).filter(|(a, b)| a < b).collect()
}
