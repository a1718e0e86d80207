//! Messages of rows: a JSON object each, and a key.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{Schema, SchemaRef};

use crate::connect::json_sink::json_lines;
use crate::connect::{KafkaOutput, types};
use crate::{Error, Result};

/// What messages say of their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// That they came.
    Came,
    /// That they are those of their keys now.
    Is,
    /// That their keys have none any more: tombstones. The rows have the key's columns alone.
    Gone,
}

/// Columns that are refused are refused now.
pub(super) fn check(output: &KafkaOutput, schema: &SchemaRef) -> Result<()> {
    let place = output.topic.to_string();
    let _ = json_lines::<Vec<u8>>(schema, &place)?;
    keys(output, schema).map(|_| ())
}

/// The columns of the key.
fn keys(output: &KafkaOutput, schema: &Schema) -> Result<Vec<usize>> {
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let index = |name: &String| {
        let unknown = || crate::words::unknown(&format!("{}: the rows have no column", output.topic), name, "they have", &names);
        schema.index_of(name).map_err(|_| Error::Usage(unknown()))
    };
    output.key.iter().map(index).collect()
}

/// Calls `send` with the key and the value of each row.
pub(super) fn each(
    output: &KafkaOutput,
    batch: &RecordBatch,
    says: Says,
    send: &mut dyn FnMut(Option<&[u8]>, Option<&[u8]>) -> Result<()>,
) -> Result<()> {
    let bytes = if says == Says::Gone { Vec::new() } else { lines(output, batch)? };
    let key = keys(output, &batch.schema())?;
    let mut values = bytes.split(|b| *b == b'\n');
    let mut value = || match says {
        Says::Gone => Ok(None),
        _ => values.next().map(Some).ok_or_else(|| Error::internal("a row has no line")),
    };
    match key.as_slice() {
        [] => (0..batch.num_rows()).try_for_each(|_| send(None, value()?)),
        // a message that others replace has a key, also for null
        [one] if says == Says::Came || !batch.schema_ref().field(*one).is_nullable() => {
            let column = batch.column(*one);
            let column = types::relabel(column, &types::offset_zones(column.data_type()))?;
            let options = FormatOptions::default().with_display_error(false);
            let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
            let nulls = column.logical_nulls();
            let mut text = String::new();
            for row in 0..batch.num_rows() {
                if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                    send(None, value()?)?;
                    continue;
                }
                text.clear();
                let written = write!(text, "{}", formatter.value(row));
                written.map_err(|_| Error::Data {
                    place: output.topic.to_string(),
                    what: "a key cannot be written as text (a date or time out of range)".into(),
                })?;
                send(Some(text.as_bytes()), value()?)?;
            }
            Ok(())
        }
        several => {
            let keys = lines(output, &batch.project(several)?)?;
            let mut keys = keys.split(|b| *b == b'\n');
            (0..batch.num_rows()).try_for_each(|_| send(keys.next(), value()?))
        }
    }
}

fn lines(output: &KafkaOutput, batch: &RecordBatch) -> Result<Vec<u8>> {
    let place = output.topic.to_string();
    let mut bytes = Vec::new();
    let mut lines = json_lines(&Arc::clone(batch.schema_ref()), &place)?(&mut bytes);
    lines.write(batch)?.map_err(|e| Error::Data { place, what: format!("a row cannot be written as JSON: {e}") })?;
    drop(lines);
    Ok(bytes)
}
