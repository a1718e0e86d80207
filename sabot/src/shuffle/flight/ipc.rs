//! Batches as Arrow IPC messages, and back.
//!
//! Own loops, since the encoder of `arrow-flight` cuts a batch by the size of the buffers that a slice keeps alive: after
//! partitioning that is many tiny messages. Here a batch is one message, written without what its rows do not need.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary};
use arrow_ipc::writer::{DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_ipc::{MessageHeader, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;

use crate::record::own_text;
use crate::{Error, Result};

/// One Arrow IPC message.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The flatbuffer that says what the body is.
    pub(super) header: Bytes,
    /// The buffers.
    pub(super) body: Bytes,
}

impl From<EncodedData> for Part {
    fn from(encoded: EncodedData) -> Self {
        Part { header: encoded.ipc_message.into(), body: encoded.arrow_data.into() }
    }
}

/// Turns the batches of one stream into messages: the schema, when it is new, and dictionaries, when they are, come first.
pub(super) struct Encoder {
    options: IpcWriteOptions,
    schema: Option<SchemaRef>,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
}

impl Encoder {
    pub(super) fn new() -> Self {
        let mut context = IpcWriteContext::default();
        context.set_reserve_scratch(true);
        Encoder { options: IpcWriteOptions::default(), schema: None, dictionaries: DictionaryTracker::new(false), context }
    }
    /// The messages of a schema, if it is not that of the batch before.
    pub(super) fn schema(&mut self, schema: &SchemaRef) -> Option<Part> {
        if self.schema.as_ref().is_some_and(|before| Arc::ptr_eq(before, schema) || before == schema) {
            return None;
        }
        self.schema = Some(Arc::clone(schema));
        self.dictionaries = DictionaryTracker::new(false);
        let generator = IpcDataGenerator::default();
        Some(generator.schema_to_bytes_with_dictionary_tracker(schema, &mut self.dictionaries, &self.options).into())
    }
    /// The messages of a batch: the last one has its rows.
    ///
    /// # Errors
    /// If Arrow cannot write a column.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<Part>> {
        let batch = own_text(batch)?;
        let schema = self.schema(batch.schema_ref());
        let generator = IpcDataGenerator::default();
        let (dictionaries, rows) = generator.encode(&batch, &mut self.dictionaries, &self.options, &mut self.context)?;
        Ok(schema.into_iter().chain(dictionaries.into_iter().map(Part::from)).chain([rows.into()]).collect())
    }
}

/// Turns the messages of one stream into batches.
pub(super) struct Decoder {
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Decoder { schema: None, dictionaries: HashMap::new() }
    }
    /// The columns, once they have come.
    pub(super) fn schema(&self) -> Option<SchemaRef> {
        self.schema.clone()
    }
    /// The batch of a message, if it has one. The columns are parts of `body`, but for those that are not aligned in it.
    ///
    /// # Errors
    /// If it is no message, or its columns are not what they should be.
    pub(super) fn message(&mut self, header: &[u8], body: impl Into<Buffer>) -> Result<Option<RecordBatch>> {
        let broken = |what: String| Error::from(ArrowError::IpcError(what));
        let message = root_as_message(header).map_err(|e| broken(format!("no Arrow message: {e}")))?;
        let missing = || broken("an Arrow message without its header".into());
        let needed = || broken("rows before their schema".into());
        match message.header_type() {
            MessageHeader::Schema => {
                self.schema = Some(Arc::new(fb_to_schema(message.header_as_schema().ok_or_else(missing)?)));
                self.dictionaries.clear();
                Ok(None)
            }
            MessageHeader::DictionaryBatch => {
                let batch = message.header_as_dictionary_batch().ok_or_else(missing)?;
                let schema = self.schema.as_ref().ok_or_else(needed)?;
                read_dictionary(&body.into(), batch, schema, &mut self.dictionaries, &message.version())?;
                Ok(None)
            }
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or_else(missing)?;
                let schema = Arc::clone(self.schema.as_ref().ok_or_else(needed)?);
                let (body, version) = (body.into(), message.version());
                let decoder = RecordBatchDecoder::try_new(&body, batch, schema, &self.dictionaries, &version)?;
                Ok(Some(decoder.read_record_batch()?))
            }
            other => Err(broken(format!("an Arrow message of kind {other:?}"))),
        }
    }
}
