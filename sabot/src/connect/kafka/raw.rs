//! The format of raw values: one column holds them as they are.

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, SchemaRef};

use crate::connect::types::{convert, is_binary, is_text, plain};
use crate::connect::{Decoder, Format, Message};
use crate::{Error, Result};

pub(super) struct Raw;

impl Format for Raw {
    fn decoder(&self, columns: &SchemaRef) -> Result<Box<dyn Decoder>> {
        match columns.fields().as_ref() {
            [] => {}
            [one] if is_text(one.data_type()) || is_binary(one.data_type()) => {}
            [one] => {
                let (name, what) = (one.name(), plain(one.data_type()));
                return Err(Error::Usage(format!("column `{name}` is a {what}; a raw value is a string or binary")));
            }
            [..] => {
                let names: Vec<&str> = columns.fields().iter().map(|f| f.name().as_str()).collect();
                return Err(Error::Usage(format!(
                    "which of {} holds the raw value? Say `value=..`, and `key=..`, `timestamp=..` and so on for the others",
                    names.join(", ")
                )));
            }
        }
        Ok(Box::new(Values { columns: Arc::clone(columns), values: BinaryBuilder::new(), rows: 0 }))
    }
}

struct Values {
    columns: SchemaRef,
    values: BinaryBuilder,
    rows: usize,
}

impl Decoder for Values {
    fn add(&mut self, message: Message<'_>) -> Result<(), String> {
        if let Some(field) = self.columns.fields().first() {
            match message.value {
                None if !field.is_nullable() => return Err("no value (a tombstone; `on_tombstone=skip` leaves these out)".into()),
                Some(value) if is_text(field.data_type()) && std::str::from_utf8(value).is_err() => {
                    return Err("the value is not valid UTF-8; read it as binary".into());
                }
                value => self.values.append_option(value),
            }
        }
        self.rows += 1;
        Ok(())
    }
    fn finish(&mut self) -> Result<(RecordBatch, Vec<(usize, String)>)> {
        let rows = std::mem::take(&mut self.rows);
        let columns = match self.columns.fields().first() {
            Some(field) => vec![bytes_as(Arc::new(self.values.finish()), field.data_type())?],
            None => Vec::new(),
        };
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
        Ok((RecordBatch::try_new_with_options(Arc::clone(&self.columns), columns, &options)?, Vec::new()))
    }
}

/// Bytes as text, which they are, or as another encoding of bytes.
pub(super) fn bytes_as(bytes: ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if is_binary(to) {
        return convert(&bytes, to);
    }
    let text = arrow_cast::cast(&bytes, &DataType::Utf8)?;
    convert(&text, to)
}

/// The rows that are not among `bad`, which ascend.
pub(super) fn without(column: &dyn Array, bad: &[usize]) -> Result<ArrayRef> {
    let mut keep = vec![true; column.len()];
    for row in bad {
        if let Some(k) = keep.get_mut(*row) {
            *k = false;
        }
    }
    Ok(arrow_select::filter::filter(column, &BooleanArray::from(keep))?)
}
