//! Rows as `COPY` reads them: a line for each, fields between tabulators, `\N` for null.

use std::fmt::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};

use crate::connect::types::{is_binary, is_text, offset_zones, relabel};
use crate::{Error, Result};

/// How the values of a column become text.
enum Field<'a> {
    /// Anything without special characters.
    Plain(ArrayFormatter<'a>),
    Text(ArrayFormatter<'a>),
    /// Hexadecimal digits.
    Bytes(ArrayFormatter<'a>),
    /// A number of these.
    Spans(&'a ArrayRef, i64, &'static str),
}

/// Appends the lines of a batch. With `number`, each begins with the row's number, counted from there.
pub(super) fn lines(batch: &RecordBatch, mut number: Option<u64>, out: &mut String) -> Result<()> {
    let plain = |c: &ArrayRef| match c.data_type() {
        DataType::Duration(_) => arrow_cast::cast(c, &DataType::Int64).map_err(Error::from),
        t => relabel(c, &offset_zones(t)),
    };
    let columns = batch.columns().iter().map(plain).collect::<Result<Vec<ArrayRef>>>()?;
    let options = FormatOptions::default().with_display_error(false);
    let mut fields = Vec::with_capacity(columns.len());
    for (column, was) in columns.iter().zip(batch.columns()) {
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        fields.push(match was.data_type() {
            DataType::Duration(unit) => {
                let (per, word) = match unit {
                    TimeUnit::Second => (1, "seconds"),
                    TimeUnit::Millisecond => (1, "milliseconds"),
                    TimeUnit::Microsecond => (1, "microseconds"),
                    // what Postgres keeps
                    TimeUnit::Nanosecond => (1000, "microseconds"),
                };
                Field::Spans(column, per, word)
            }
            t if is_text(t) => Field::Text(formatter),
            DataType::FixedSizeBinary(_) => Field::Bytes(formatter),
            t if is_binary(t) => Field::Bytes(formatter),
            DataType::Dictionary(_, value) if is_binary(value) => Field::Bytes(formatter),
            _ => Field::Plain(formatter),
        });
    }
    let nulls: Vec<_> = columns.iter().map(|c| c.logical_nulls()).collect();
    let mut cell = String::new();
    for row in 0..batch.num_rows() {
        let mut first = true;
        if let Some(n) = &mut number {
            // writing into a string cannot fail
            let _ = write!(out, "{n}");
            *n += 1;
            first = false;
        }
        for ((field, nulls), column) in fields.iter().zip(&nulls).zip(batch.schema_ref().fields()) {
            if !std::mem::replace(&mut first, false) {
                out.push('\t');
            }
            if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                out.push_str("\\N");
                continue;
            }
            cell.clear();
            let written = match field {
                Field::Plain(f) => write!(out, "{}", f.value(row)),
                Field::Bytes(f) => write!(out, "\\\\x{}", f.value(row)),
                Field::Spans(c, per, word) => {
                    let n = c.as_primitive_opt::<Int64Type>().map_or(0, |c| c.value(row));
                    write!(out, "{} {word}", n / per)
                }
                Field::Text(f) => write!(cell, "{}", f.value(row)).map(|()| escape(&cell, out)),
            };
            written.map_err(|_| Error::Data {
                place: format!("column `{}`", column.name()),
                what: "a value cannot be written as text (a date or time out of range)".into(),
            })?;
        }
        out.push('\n');
    }
    Ok(())
}

/// Appends a text, with what `COPY` gives a meaning to marked as meant.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BinaryArray, DurationNanosecondArray, Float64Array, Int32Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn values_as_copy_reads_them() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int32Array::from(vec![Some(1), None]))),
            ("text", Arc::new(StringArray::from(vec![Some("a\tb\\N\n"), Some("")]))),
            ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None]))),
            ("span", Arc::new(DurationNanosecondArray::from(vec![-1_500, 7]))),
            ("float", Arc::new(Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY]))),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![0, -1]).with_timezone("Europe/Paris"))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut out = String::new();
        lines(&batch, Some(8), &mut out).unwrap();
        let expected = "8\t1\ta\\tb\\\\N\\n\t\\\\x00ff\t-1 microseconds\tNaN\t1970-01-01T00:00:00Z\n\
                        9\t\\N\t\t\\N\t0 microseconds\t-inf\t1969-12-31T23:59:59.999999Z\n";
        assert_eq!(out, expected);
    }
}
