//! How messages become rows: the trait for a format of one's own.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::Result;

/// A message of a log: of a partition of a Kafka topic.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What it holds; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its time, in milliseconds since 1970, if it has one.
    pub timestamp: Option<i64>,
    /// Its partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
}

/// A format of messages: JSON, or one of your own.
///
/// The rows must depend on the messages alone, since a job that continues reads messages again.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use arrow_schema::SchemaRef;
/// use sabot::Result;
/// use sabot::connect::{Decoder, Format, Message};
///
/// /// Numbers of eight bytes, the lowest first.
/// struct Numbers;
/// struct Decoding { columns: SchemaRef, numbers: Vec<i64> }
///
/// impl Format for Numbers {
///     fn decoder(&self, columns: &SchemaRef) -> Result<Box<dyn Decoder>> {
///         Ok(Box::new(Decoding { columns: columns.clone(), numbers: Vec::new() }))
///     }
/// }
/// impl Decoder for Decoding {
///     fn add(&mut self, message: Message<'_>) -> Result<(), String> {
///         let bytes = message.value.and_then(|v| v.try_into().ok()).ok_or("not eight bytes")?;
///         self.numbers.push(i64::from_le_bytes(bytes));
///         Ok(())
///     }
///     fn finish(&mut self) -> Result<(RecordBatch, Vec<(usize, String)>)> {
///         let column: ArrayRef = Arc::new(Int64Array::from(std::mem::take(&mut self.numbers)));
///         Ok((RecordBatch::try_new(self.columns.clone(), vec![column])?, Vec::new()))
///     }
/// }
/// ```
pub trait Format: Send + Sync {
    /// A decoder of these columns.
    ///
    /// # Errors
    /// If the format cannot hold such columns.
    fn decoder(&self, columns: &SchemaRef) -> Result<Box<dyn Decoder>>;
}

/// Makes rows of messages: some messages, then a batch.
pub trait Decoder: Send {
    /// Adds the row of a message.
    ///
    /// # Errors
    /// Why the message is not a row; nothing is added then.
    fn add(&mut self, message: Message<'_>) -> Result<(), String>;
    /// The rows of all messages added since the last call, in their order. A decoder that judges messages together may name some here that are no
    /// rows, by their number among those added, ascending, and why; the batch is without them.
    ///
    /// # Errors
    /// If rows cannot be made at all.
    fn finish(&mut self) -> Result<(RecordBatch, Vec<(usize, String)>)>;
}
