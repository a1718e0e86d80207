//! CSV files as a source: one partition, split by byte ranges that begin at a record.

use std::io::{BufReader, Read as _, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::csv_options::{CsvOptions, Dialect};
use super::csv_reader::CsvReader;
use super::csv_text::{BOM, cut};
use super::line_numbers::LineNumbers;
use super::{fit, paths, types};
use crate::operator::{Source, Split, SplitReader};
use crate::{Error, Result};

/// Bytes of one split. Large enough that opening a range costs nothing against parsing it (about 10 ms), small enough
/// that a few dozen megabytes already occupy every thread.
pub(crate) const SPLIT_BYTES: u64 = 4 << 20;

/// CSV files, parsed straight to the types that a record expects.
///
/// Columns are found by the names in each file's first line. Cells are read as follows (spaces around all but strings
/// are ignored): integers and floats as in Rust, also `inf` and `NaN`; `true`/`false`, `t`/`f`, `yes`/`no`, `1`/`0`;
/// decimals with at most the type's digits after the point; dates `2013-01-31`; times `05:17:00.25`; timestamps
/// `2013-01-31T05:17:00Z`, with a space for the `T`, with or without an offset (without: UTC, or the column's own
/// offset; a column in a named zone needs one; digits finer than the column's unit are cut); durations as a number of units; bytes in hexadecimal. Lists and structs
/// cannot be read.
///
/// Empty lines are passed over. A split holds the records that begin within a range of 4 MiB; it is read into memory
/// as a whole, and texts of more than 12 bytes are views into it: a batch of such texts keeps its split in memory. More than
/// 2 GiB without a line end outside quotes cannot be read. A position is the byte at which the next record begins.
///
/// ```
/// use arrow_schema::{DataType, Field, Schema};
/// use sabot::connect::CsvSource;
/// use sabot::operator::{Read, Source};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("numbers.csv");
/// std::fs::write(&path, "text,n\na,1\nb,2\n")?;
/// let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
/// let source = CsvSource::open(&[path.display().to_string()], &Default::default(), "Number", &schema)?;
/// assert_eq!(source.splits()?.len(), 1);
/// let mut reader = source.open(&source.splits()?[0], None)?;
/// assert!(matches!(reader.next(100)?, Read::Rows(batch, _) if batch.num_rows() == 2));
/// # Ok(()) }
/// ```
pub struct CsvSource {
    shared: Arc<Shared>,
    split_bytes: u64,
}

/// What all readers of one source share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) files: Vec<CsvFile>,
    pub(crate) options: CsvOptions,
    pub(crate) dialect: Dialect,
    /// The columns to deliver.
    pub(crate) schema: SchemaRef,
    /// For each column to deliver, its index among the expected ones.
    pub(crate) projection: Vec<usize>,
    /// Whether bad lines are handed over: then where their numbers come from.
    pub(crate) bad: Option<Arc<LineNumbers>>,
}

impl Shared {
    /// The same, with bad lines.
    ///
    /// # Errors
    /// If they are to be dropped.
    pub(crate) fn give_bad(&self, place: &str) -> Result<Self> {
        self.options.on_bad_line.give(place)?;
        Ok(Shared { bad: Some(Arc::default()), ..self.clone() })
    }
}

/// One file, as found when the source was opened.
#[derive(Clone)]
pub(crate) struct CsvFile {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    /// Where the first record begins, after the header.
    pub(crate) start: u64,
    /// Fields per record.
    pub(crate) width: usize,
    /// For each expected column, the field that holds it.
    pub(crate) fields: Vec<usize>,
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

impl CsvSource {
    /// Finds the files of `patterns` and matches their first lines to `expected`, the columns of `record`.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read, [`Error::Schema`] if its columns do not fit, [`Error::Data`] if it is
    /// empty but should have a header, [`Error::Usage`] if a type cannot be read from CSV or the options make no sense.
    pub fn open(patterns: &[String], options: &CsvOptions, record: &str, expected: &Schema) -> Result<Self> {
        let dialect = options.dialect()?;
        check_types(record, expected)?;
        let files = paths::expand(patterns, super::source_spec::CSV_EXTENSIONS)?
            .into_iter()
            .map(|path| probe(path, options, dialect, record, expected))
            .collect::<Result<Vec<CsvFile>>>()?;
        let shared = Shared {
            files,
            options: options.clone(),
            dialect,
            schema: Arc::new(expected.clone()),
            projection: (0..expected.fields().len()).collect(),
            bad: None,
        };
        Ok(CsvSource { shared: Arc::new(shared), split_bytes: SPLIT_BYTES })
    }

    /// Cuts the files more finely, for tests.
    #[cfg(test)]
    pub(crate) fn split_bytes(mut self, bytes: u64) -> Self {
        self.split_bytes = bytes;
        self
    }
}

/// Refuses columns that a CSV cell cannot hold.
pub(crate) fn check_types(record: &str, expected: &Schema) -> Result<()> {
    match expected.fields().iter().find(|f| !super::csv_cell::supported(f.data_type())) {
        None => Ok(()),
        Some(field) => Err(Error::usage(format!(
            "column `{}` of record `{record}` is a {}, which a CSV cell cannot hold; store it as Parquet or Arrow",
            field.name(),
            types::plain(field.data_type())
        ))),
    }
}

/// Reads the header of a file.
pub(crate) fn probe(path: PathBuf, options: &CsvOptions, dialect: Dialect, record: &str, expected: &Schema) -> Result<CsvFile> {
    let io = |e| Error::io(&path, "cannot open", e);
    let mut file = std::fs::File::open(&path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let mut mark = Vec::new();
    file.by_ref().take(BOM.len() as u64).read_to_end(&mut mark).map_err(io)?;
    let bom = if mark == BOM { BOM.len() as u64 } else { 0 };
    file.seek(SeekFrom::Start(bom)).map_err(io)?;
    let mut reader = dialect.reader(BufReader::new(file));
    let mut first = csv::ByteRecord::new();
    let any = reader.read_byte_record(&mut first).map_err(|e| csv_error(&path, e))?;
    let place = path.display().to_string();
    if !options.header {
        if !any {
            return Ok(CsvFile { path, size, start: size, width: expected.fields().len(), fields: (0..expected.fields().len()).collect() });
        }
        if first.len() < expected.fields().len() {
            let what = format!(
                "its lines have {} fields, fewer than the {} columns of record `{record}`; without a header, fields are taken in the record's order",
                first.len(),
                expected.fields().len()
            );
            return Err(Error::Data { place: format!("{place}:1:1"), what });
        }
        return Ok(CsvFile { path, size, start: bom, width: first.len(), fields: (0..expected.fields().len()).collect() });
    }
    if !any {
        let what = "the file is empty, without the line that names the columns; remove it, or read with header=false".into();
        return Err(Error::Data { place, what });
    }
    let names = first.iter().map(std::str::from_utf8).collect::<Result<Vec<&str>, _>>();
    let names = names.map_err(|_| Error::Data { place: format!("{place}:1:1"), what: "the column names are not valid UTF-8".into() })?;
    // Only names are known of a CSV file: a column of an expected name is given the expected type.
    let found: Vec<Field> = names
        .iter()
        .map(|name| expected.field_with_name(name).cloned().unwrap_or_else(|_| Field::new(*name, DataType::Utf8View, true)))
        .collect();
    let fields = fit::fit(&place, record, expected, &Schema::new(found))?;
    let start = bom + reader.position().byte();
    Ok(CsvFile { size, start, width: first.len(), fields, path })
}

pub(crate) fn csv_error(path: &Path, error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(e) => Error::io(path, "cannot read", e),
        other => Error::Data { place: path.display().to_string(), what: format!("cannot be read as CSV: {other:?}") },
    }
}

impl Source for CsvSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shared.schema)
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        let (schema, indices) = fit::project(&self.shared.schema, columns, &self.describe())?;
        let projection = indices.iter().filter_map(|&i| self.shared.projection.get(i).copied()).collect();
        self.shared = Arc::new(Shared { schema, projection, ..self.shared.as_ref().clone() });
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
        for file in &self.shared.files {
            for (start, end) in cut(&file.path, self.shared.dialect, file.start, file.size, self.split_bytes)? {
                let range = Range { path: file.path.clone(), size: file.size, start, end };
                let spec = serde_json::to_value(range).map_err(|e| Error::internal(format!("a split cannot be written as JSON: {e}")))?;
                splits.push(Split { partition: 0, sequence: splits.len() as u64, rows: None, bytes: Some(end - start), spec });
            }
        }
        Ok(splits)
    }

    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let range: Range = fit::split_spec(split, &self.describe())?;
        let file = self.shared.files.iter().find(|f| f.path == range.path && f.size == range.size).ok_or_else(|| Error::Data {
            place: range.path.display().to_string(),
            what: "the file has changed since its splits were cut; start the job anew".into(),
        })?;
        let position = fit::number(position, "a CSV file")?.unwrap_or(range.start);
        if !(range.start..=range.end).contains(&position) {
            return Err(Error::Checkpoint(format!(
                "byte {position} is not in the split {}..{} of {}",
                range.start,
                range.end,
                range.path.display()
            )));
        }
        Ok(Box::new(CsvReader::new(Arc::clone(&self.shared), file.clone(), position..range.end)))
    }

    fn describe(&self) -> String {
        let files: Vec<PathBuf> = self.shared.files.iter().map(|f| f.path.clone()).collect();
        paths::describe(&files)
    }
}
