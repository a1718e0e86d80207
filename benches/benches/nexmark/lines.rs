//! A result as lines of text, in the form in which the other engine writes its own: times in milliseconds, tabs between columns.

use std::io::{BufWriter, Write};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, UInt64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use sabot::{Error, Result};

use super::{Task, feed};

/// Writes the rows into the task's directory, which is a file here.
pub fn write(task: &Task) -> Result<()> {
    let feed = feed::Feed::new(task.nexmark(), task.mode);
    let batches = feed.job(&task.query)?.parallel(task.threads).collect_batches()?;
    let path = Path::new(&task.directory);
    let io = |e| Error::io(path, "cannot write", e);
    let mut out = BufWriter::new(std::fs::File::create(path).map_err(io)?);
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|c| cell(c, row)).collect::<Result<Vec<_>>>()?;
            writeln!(out, "{}", cells.join("\t")).map_err(io)?;
        }
    }
    out.flush().map_err(io)
}

fn cell(column: &ArrayRef, row: usize) -> Result<String> {
    if column.is_null(row) {
        return Ok("null".into());
    }
    Ok(match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Decimal128(_, 3) => {
            let units = column.as_primitive::<Decimal128Type>().value(row);
            format!("{}.{:03}", units / 1000, units % 1000)
        }
        DataType::Utf8View => column.as_string_view().value(row).to_owned(),
        DataType::Timestamp(TimeUnit::Millisecond, _) => column.as_primitive::<TimestampMillisecondType>().value(row).to_string(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => (column.as_primitive::<TimestampMicrosecondType>().value(row) / 1000).to_string(),
        other => return Err(Error::usage(format!("no text for a column of {other}"))),
    })
}
