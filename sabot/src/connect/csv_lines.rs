//! Batches as lines of CSV text, for files and for standard output.

use std::fmt::Write as _;

use arrow_array::{Array, ArrayRef, RecordBatch, new_empty_array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, SchemaRef};

use super::csv_options::Dialect;
use super::types::{is_text, offset_zones, plain, relabel};
use crate::{Error, Result};

/// Turns batches of known columns into lines.
pub(crate) struct CsvLines {
    dialect: Dialect,
    /// The types to write: columns are relabelled to them.
    types: Vec<DataType>,
    /// Where the lines go, for messages.
    place: String,
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

impl CsvLines {
    /// Lines of these columns.
    ///
    /// # Errors
    /// [`Error::Usage`] if a column's type has no form as a CSV cell.
    pub(crate) fn new(schema: &SchemaRef, dialect: Dialect, place: String) -> Result<Self> {
        for field in schema.fields() {
            let t = written(field.data_type());
            let refused = if super::csv_cell::supported(&t) { None } else { Some(String::new()) };
            let refused = refused.or_else(|| ArrayFormatter::try_new(&new_empty_array(&t), &format()).err().map(|e| format!(" ({e})")));
            if let Some(reason) = refused {
                return Err(Error::usage(format!(
                    "{place}: column `{}` is a {}, which a CSV cell cannot hold{reason}; write Parquet, JSON lines or Arrow instead",
                    field.name(),
                    plain(field.data_type())
                )));
            }
        }
        let types = schema.fields().iter().map(|f| written(f.data_type())).collect();
        Ok(CsvLines { dialect, types, place })
    }

    /// The line with the columns' names.
    ///
    /// # Errors
    /// If a name cannot be written in this dialect.
    pub(crate) fn header(&self, schema: &SchemaRef) -> Result<String> {
        let mut line = String::new();
        for (i, field) in schema.fields().iter().enumerate() {
            self.separate(&mut line, i);
            self.quoted(&mut line, field.name(), true)?;
        }
        line.push('\n');
        Ok(line)
    }

    /// Calls `put` with each row's line.
    ///
    /// # Errors
    /// Those of `put`; [`Error::Data`] if a value cannot be written in this dialect.
    pub(crate) fn each(&self, batch: &RecordBatch, put: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let columns = batch.columns().iter().zip(&self.types).map(|(c, t)| relabel(c, t)).collect::<Result<Vec<ArrayRef>>>()?;
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
                    Error::Data { place: self.place.clone(), what }
                })?;
                self.quoted(&mut line, &cell, is_text(column.data_type()))?;
            }
            line.push('\n');
            put(&line)?;
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
            return Err(Error::Data { place: self.place.clone(), what });
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
