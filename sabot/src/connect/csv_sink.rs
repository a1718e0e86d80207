//! Writes a CSV file.

use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use arrow_array::{Array, ArrayRef, RecordBatch, new_empty_array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, SchemaRef};

use super::csv_options::{CsvOptions, Dialect};
use super::staged::{Staged, StagedWriter, not_open};
use super::types::{offset_zones, plain, relabel};
use crate::operator::Sink;
use crate::{Error, Result};

/// A CSV file that appears on commit, in place of an older one.
///
/// What it writes, the CSV source reads back: a null is an empty field (in a file of one column, `NA`, since an empty
/// line is no record), an empty text and the text `NA` are quoted, timestamps with a zone are written in UTC, durations
/// as a number of units, bytes in hexadecimal.
pub struct CsvSink {
    path: PathBuf,
    dialect: Dialect,
    header: bool,
    open: Option<Open>,
}

struct Open {
    staged: Staged,
    writer: BufWriter<StagedWriter>,
    /// The types to write: columns are relabelled to them.
    types: Vec<DataType>,
}

impl CsvSink {
    /// A sink to the file `path`. Of `options`, the delimiter, the quote and the header count.
    ///
    /// # Errors
    /// [`Error::Usage`] if the delimiter or the quote is impossible.
    pub fn new(path: impl Into<PathBuf>, options: &CsvOptions) -> Result<Self> {
        Ok(CsvSink { path: path.into(), dialect: options.dialect()?, header: options.header, open: None })
    }
}

/// The type to write a column as.
fn written(t: &DataType) -> DataType {
    match t {
        DataType::Duration(_) => DataType::Int64,
        other => offset_zones(other),
    }
}

fn format() -> FormatOptions<'static> {
    FormatOptions::default().with_display_error(false)
}

impl Sink for CsvSink {
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        for field in schema.fields() {
            let t = written(field.data_type());
            let refused = if super::csv_cell::supported(&t) { None } else { Some(String::new()) };
            let refused = refused.or_else(|| ArrayFormatter::try_new(&new_empty_array(&t), &format()).err().map(|e| format!(" ({e})")));
            if let Some(reason) = refused {
                return Err(Error::usage(format!(
                    "{}: column `{}` is a {}, which a CSV cell cannot hold{reason}; write Parquet, JSON lines or Arrow instead",
                    self.path.display(),
                    field.name(),
                    plain(field.data_type())
                )));
            }
        }
        let (staged, writer) = Staged::create(&self.path)?;
        let types = schema.fields().iter().map(|f| written(f.data_type())).collect();
        let mut open = Open { staged, writer: BufWriter::new(writer), types };
        if self.header {
            let mut line = String::new();
            for (i, field) in schema.fields().iter().enumerate() {
                self.separate(&mut line, i);
                self.quoted(&mut line, field.name(), true)?;
            }
            line.push('\n');
            open.writer.write_all(line.as_bytes()).map_err(|e| open.staged.error("CSV", e))?;
        }
        self.open = Some(open);
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut open = self.open.take().ok_or_else(|| not_open("the CSV sink"))?;
        let result = self.rows(&mut open, batch);
        self.open = Some(open);
        result
    }

    fn commit(&mut self) -> Result<()> {
        let Open { staged, mut writer, .. } = self.open.take().ok_or_else(|| not_open("the CSV sink"))?;
        writer.flush().map_err(|e| staged.error("CSV", e))?;
        drop(writer);
        staged.commit()
    }

    fn abort(&mut self) {
        self.open = None;
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

impl CsvSink {
    fn rows(&self, open: &mut Open, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().zip(&open.types).map(|(c, t)| relabel(c, t)).collect::<Result<Vec<ArrayRef>>>()?;
        let options = format();
        let formatters = columns.iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options)).collect::<Result<Vec<_>, _>>()?;
        let nulls: Vec<_> = columns.iter().map(|c| c.logical_nulls()).collect();
        let null = if columns.len() == 1 { "NA" } else { "" };
        let (mut line, mut cell) = (String::new(), String::new());
        for row in 0..batch.num_rows() {
            line.clear();
            for (i, ((formatter, nulls), column)) in formatters.iter().zip(&nulls).zip(&columns).enumerate() {
                self.separate(&mut line, i);
                if nulls.as_ref().is_some_and(|n| n.is_null(row)) || column.data_type() == &DataType::Null {
                    line.push_str(null);
                    continue;
                }
                cell.clear();
                write!(cell, "{}", formatter.value(row)).map_err(|_| {
                    let what = format!("a value of column {} cannot be written as text (a date or time out of range)", i + 1);
                    Error::Data { place: self.path.display().to_string(), what }
                })?;
                self.quoted(&mut line, &cell, super::types::is_text(column.data_type()))?;
            }
            line.push('\n');
            open.writer.write_all(line.as_bytes()).map_err(|e| open.staged.error("CSV", e))?;
        }
        Ok(())
    }

    fn separate(&self, line: &mut String, column: usize) {
        if column > 0 {
            line.push(char::from(self.dialect.delimiter));
        }
    }

    /// Adds a field, in quotes where it would otherwise be read as something else.
    fn quoted(&self, line: &mut String, text: &str, is_text: bool) -> Result<()> {
        let special = |b: u8| b == self.dialect.delimiter || self.dialect.quote == Some(b) || b == b'\n' || b == b'\r';
        let ambiguous = is_text && matches!(text, "" | "NA") || text.bytes().any(special) || text.starts_with('\u{FEFF}');
        if !ambiguous {
            line.push_str(text);
            return Ok(());
        }
        let Some(quote) = self.dialect.quote.map(char::from) else {
            let what = format!("the text {text:?} cannot be written without quotes; allow them, or choose another delimiter");
            return Err(Error::Data { place: self.path.display().to_string(), what });
        };
        line.push(quote);
        for c in text.chars() {
            if c == quote {
                line.push(quote);
            }
            line.push(c);
        }
        line.push(quote);
        Ok(())
    }
}
