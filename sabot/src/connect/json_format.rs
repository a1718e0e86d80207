//! Messages that hold a JSON object each.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::json_rows::JsonRows;
use super::{Decoder, Format, Message};
use crate::Result;

/// A JSON object, whose members are columns, as a [`Format`].
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonFormat;

impl Format for JsonFormat {
    fn decoder(&self, columns: &SchemaRef) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(JsonRows::new(columns, "a message")?))
    }
}

impl Decoder for JsonRows {
    fn add(&mut self, message: Message<'_>) -> Result<(), String> {
        self.push(message.value.ok_or("no value (a tombstone; `on_tombstone=skip` leaves these out)")?);
        Ok(())
    }
    fn finish(&mut self) -> Result<(RecordBatch, Vec<(usize, String)>)> {
        JsonRows::finish(self)
    }
}
