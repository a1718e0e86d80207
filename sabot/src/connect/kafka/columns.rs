//! Rows from messages: columns that the format decodes, and columns for what Kafka knows of a message.

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::raw::{bytes_as, without};
use crate::connect::types::{is_binary, is_text, plain};
use crate::connect::{Decoder, Format, KafkaInput, Message};
use crate::{Error, Result};

/// What fills a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// This column of the format.
    Format(usize),
    Key,
    Timestamp,
    Partition,
    Offset,
}

/// Makes rows with these columns.
pub(super) struct Rows {
    schema: SchemaRef,
    from: Vec<From>,
    decoder: Box<dyn Decoder>,
    keys: BinaryBuilder,
    timestamps: Vec<Option<i64>>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    /// Whether the key is wanted as text, and whether it, and the timestamp, may be null.
    key: Option<(bool, bool)>,
    timestamp: Option<bool>,
}

/// A message that is no row: its offset, and why.
pub(super) type Bad = (i64, String);

impl Rows {
    /// Rows of `schema`, some of which the input says to take from elsewhere than the value.
    ///
    /// # Errors
    /// [`Error::Usage`] if a column cannot hold what it is to be filled with.
    pub(super) fn new(input: &KafkaInput, format: &dyn Format, schema: &SchemaRef) -> Result<Self> {
        let mut decoded = Vec::new();
        let mut from = Vec::new();
        let (mut key, mut timestamp) = (None, None);
        for field in schema.fields() {
            let of = |name: &Option<String>| name.as_ref() == Some(field.name());
            let kind = field.data_type();
            let (filled, fits, what) = if of(&input.key) {
                key = Some((!is_binary(kind), field.is_nullable()));
                (From::Key, is_text(kind) || is_binary(kind), "the message's key, a string or binary")
            } else if of(&input.timestamp) {
                timestamp = Some(field.is_nullable());
                (From::Timestamp, matches!(kind, DataType::Timestamp(..)), "the message's timestamp")
            } else if of(&input.partition) {
                (
                    From::Partition,
                    matches!(kind, DataType::Int32 | DataType::Int64 | DataType::UInt32),
                    "the message's partition, an i32, u32 or i64",
                )
            } else if of(&input.offset) {
                (From::Offset, matches!(kind, DataType::Int64 | DataType::UInt64), "the message's offset, an i64 or u64")
            } else {
                decoded.push(Arc::clone(field));
                (From::Format(decoded.len() - 1), true, "")
            };
            if !fits {
                let (topic, name, found) = (&input.topic, field.name(), plain(kind));
                return Err(Error::Usage(format!("{topic}: column `{name}` is a {found} and cannot hold {what}")));
            }
            from.push(filled);
        }
        let decoder = format.decoder(&Arc::new(Schema::new(decoded)))?;
        let (timestamps, partitions, offsets) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Rows { schema: Arc::clone(schema), from, decoder, keys: BinaryBuilder::new(), timestamps, partitions, offsets, key, timestamp })
    }
    /// Checks that the record has the columns that the input names.
    ///
    /// # Errors
    /// [`Error::Usage`] with the columns that it has.
    pub(super) fn check_names(input: &KafkaInput, record: &str, schema: &Schema) -> Result<()> {
        let named = [&input.value, &input.key, &input.timestamp, &input.partition, &input.offset];
        let fields: Vec<&str> = schema.fields().iter().map(|f: &Arc<Field>| f.name().as_str()).collect();
        for name in named.into_iter().flatten() {
            if !fields.contains(&name.as_str()) {
                let refusal = format!("{}: record `{record}` has no column", input.topic);
                return Err(Error::Usage(crate::words::unknown(&refusal, name, "it has", &fields)));
            }
        }
        Ok(())
    }
    /// Messages added since the last batch.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }
    /// Adds a message.
    ///
    /// # Errors
    /// Why it is no row; nothing is added then.
    pub(super) fn add(&mut self, message: Message<'_>) -> Result<(), String> {
        match (self.key, message.key) {
            (Some((_, false)), None) => return Err("it has no key; declare the column as `Option<..>` if it may be missing".into()),
            (Some((true, _)), Some(key)) if std::str::from_utf8(key).is_err() => {
                return Err("the key is not valid UTF-8; read it as binary".into());
            }
            _ => {}
        }
        if self.timestamp == Some(false) && message.timestamp.is_none() {
            return Err("it has no timestamp; declare the column as `Option<..>` if it may be missing".into());
        }
        self.decoder.add(message)?;
        if self.key.is_some() {
            self.keys.append_option(message.key);
        }
        self.timestamps.push(message.timestamp);
        self.partitions.push(message.partition);
        self.offsets.push(message.offset);
        Ok(())
    }
    /// The rows of the messages added, and those that turned out to be none.
    ///
    /// # Errors
    /// If the format cannot make rows.
    pub(super) fn finish(&mut self) -> Result<(RecordBatch, Vec<Bad>)> {
        let (decoded, bad) = self.decoder.finish()?;
        let offsets = std::mem::take(&mut self.offsets);
        let gone: Vec<usize> = bad.iter().map(|(row, _)| *row).collect();
        let keys: ArrayRef = Arc::new(self.keys.finish());
        let timestamps: ArrayRef = Arc::new(TimestampMillisecondArray::from(std::mem::take(&mut self.timestamps)));
        let partitions: ArrayRef = Arc::new(Int32Array::from(std::mem::take(&mut self.partitions)));
        let places: ArrayRef = Arc::new(Int64Array::from(offsets.clone()));
        let rows = offsets.len().saturating_sub(gone.len());
        if decoded.num_rows() != rows {
            return Err(Error::internal(format!("a format made {} rows of {rows} messages", decoded.num_rows())));
        }
        let mut columns = Vec::new();
        for (field, from) in self.schema.fields().iter().zip(&self.from) {
            let kept = |column: &ArrayRef| if gone.is_empty() { Ok(Arc::clone(column)) } else { without(column.as_ref(), &gone) };
            let cast = |column: &ArrayRef| Ok::<ArrayRef, Error>(arrow_cast::cast(&kept(column)?, field.data_type())?);
            columns.push(match from {
                From::Format(i) => Arc::clone(decoded.columns().get(*i).ok_or_else(|| Error::internal("a format left out a column"))?),
                From::Key => bytes_as(kept(&keys)?, field.data_type())?,
                From::Timestamp => cast(&timestamps)?,
                From::Partition => cast(&partitions)?,
                From::Offset => cast(&places)?,
            });
        }
        let bad = bad.into_iter().filter_map(|(row, why)| Some((*offsets.get(row)?, why))).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok((RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?, bad))
    }
}
