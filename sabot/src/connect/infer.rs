//! The columns of files that no record describes yet: what `schema` writes for `#[record(schema = "..")]`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use arrow_buffer::Buffer;
use arrow_schema::{DataType, Field, Schema, TimeUnit};

use super::csv_column::{Column, Scratch};
use super::csv_options::CsvOptions;
use super::csv_source::csv_error;
#[cfg(feature = "parquet")]
use super::parquet_error::{broken, guarded};
use super::{SourceSpec, csv_cell, paths, source_spec};
use crate::{Error, Result};

/// Rows of a CSV file that are looked at together.
const ROWS: usize = 4096;
/// Bytes of a date.
const DATE: usize = 10;

impl SourceSpec {
    /// The columns of the (first) file: names, types, and which may be null.
    ///
    /// A Parquet file says so itself. Of a CSV file all rows are read: a column is the first of integers, floats, truth
    /// values, dates and timestamps that every value of it is, else text; it may be null if some value is.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Data`] if it is broken, [`Error::Usage`] if a CSV file has no header.
    pub fn columns(&self) -> Result<Schema> {
        let first = |patterns: &[String], extensions: &[&str]| {
            let found = paths::expand(patterns, extensions)?.into_iter().next();
            found.ok_or_else(|| Error::Usage(format!("there is no file `{}`", patterns.join(", "))))
        };
        match self {
            #[cfg(feature = "parquet")]
            SourceSpec::Parquet { paths } => {
                let path = first(paths, source_spec::PARQUET_EXTENSIONS)?;
                let file = File::open(&path).map_err(|e| Error::io(&path, "cannot open", e))?;
                let load = || parquet::arrow::arrow_reader::ArrowReaderMetadata::load(&file, Default::default());
                let metadata = guarded(load).map_err(|e| broken(&path, "the footer", e))?;
                Ok(metadata.schema().as_ref().clone())
            }
            #[cfg(not(feature = "parquet"))]
            SourceSpec::Parquet { .. } => Err(Error::usage(crate::words::without_feature("parquet"))),
            SourceSpec::JsonLines { .. } => Err(Error::usage("the columns of JSON lines are not inferred; write the record by hand")),
            SourceSpec::Follow { files, .. } => files.columns(),
            SourceSpec::Kafka(input) => Err(Error::Usage(format!("{} does not say which columns its messages have", input.topic))),
            SourceSpec::Csv { paths, options } => of_csv(&first(paths, source_spec::CSV_EXTENSIONS)?, options),
        }
    }
}

/// A column of a CSV file, as far as it was read.
struct Seen {
    name: String,
    /// The types that all values have.
    possible: Vec<DataType>,
    nulls: bool,
    values: bool,
}

fn of_csv(path: &Path, options: &CsvOptions) -> Result<Schema> {
    if !options.header {
        return Err(Error::usage("a CSV file without a header does not name its columns"));
    }
    let dialect = options.dialect()?;
    let mut reader = dialect.reader(BufReader::new(File::open(path).map_err(|e| Error::io(path, "cannot open", e))?));
    let mut rows = vec![csv::ByteRecord::new()];
    let mut next = |record: &mut csv::ByteRecord| reader.read_byte_record(record).map_err(|e| csv_error(path, e));
    rows.iter_mut().try_for_each(|header| next(header).map(drop))?;
    let types = [DataType::Int64, DataType::Float64, DataType::Boolean, DataType::Date32, DataType::Timestamp(TimeUnit::Microsecond, None)];
    let named = |cell: &[u8]| String::from_utf8_lossy(cell).trim_start_matches('\u{feff}').to_owned();
    let mut columns: Vec<Seen> = rows
        .first()
        .into_iter()
        .flatten()
        .map(|cell| Seen { name: named(cell), possible: types.to_vec(), nulls: false, values: false })
        .collect();
    loop {
        rows.clear();
        while rows.len() < ROWS {
            let mut record = csv::ByteRecord::new();
            if !next(&mut record)? {
                break;
            }
            if record.len() != columns.len() {
                let line = record.position().map_or(0, csv::Position::line);
                let what = format!("there are {} fields, but {} columns", record.len(), columns.len());
                return Err(Error::Data { place: format!("{}:{line}", path.display()), what });
            }
            rows.push(record);
        }
        if rows.is_empty() {
            break;
        }
        for (i, column) in columns.iter_mut().enumerate() {
            let is_null = |cell: &&[u8]| options.nulls.iter().any(|n| n.as_bytes() == *cell);
            let cells: Vec<Option<&[u8]>> = rows.iter().map(|r| r.get(i).filter(|c| !is_null(c))).collect();
            column.nulls |= cells.iter().any(Option::is_none);
            column.values |= cells.iter().any(Option::is_some);
            let (nothing, mut scratch) = (Buffer::default(), Scratch::default());
            let parsed = Column::of(&cells, &nothing, &mut scratch);
            let mut left = Vec::new();
            for data_type in &column.possible {
                let mut bad = Vec::new();
                csv_cell::parse(data_type, &parsed, &mut bad)?;
                // a date is read of a timestamp too
                let longer = *data_type == DataType::Date32 && cells.iter().flatten().any(|c| c.len() > DATE);
                if bad.is_empty() && !longer {
                    left.push(data_type.clone());
                }
            }
            column.possible = left;
        }
    }
    let field = |c: Seen| {
        let data_type = c.possible.into_iter().next().filter(|_| c.values).unwrap_or(DataType::Utf8);
        Field::new(c.name, data_type, c.nulls)
    };
    Ok(Schema::new(columns.into_iter().map(field).collect::<Vec<_>>()))
}
