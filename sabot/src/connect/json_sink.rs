//! Writes a file with one JSON object per line.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_json::writer::{LineDelimited, Writer, WriterBuilder};
use arrow_schema::{Field, Schema, SchemaRef};

use super::staged::{Staged, StagedWriter, not_open};
use super::types::{offset_zones, relabel};
use crate::operator::Sink;
use crate::{Error, Result};

/// A JSON lines file that appears on commit, in place of an older one. Nulls are written, so that every line has every
/// column; bytes are written in hexadecimal, times as text.
pub struct JsonSink {
    path: PathBuf,
    writer: Option<Open>,
}

struct Open {
    staged: Staged,
    writer: Writer<BufWriter<StagedWriter>, LineDelimited>,
    schema: SchemaRef,
}

impl JsonSink {
    /// A sink to the file `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        JsonSink { path: path.into(), writer: None }
    }
}

impl Sink for JsonSink {
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_data_type(offset_zones(f.data_type())));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
        let builder = WriterBuilder::new().with_explicit_nulls(true);
        // A type without a form in JSON is refused now, not after hours.
        let mut probe = builder.clone().build::<_, LineDelimited>(Vec::new());
        let empty = RecordBatch::new_empty(Arc::clone(&schema));
        probe.write(&empty).map_err(|e| Error::usage(format!("{}: these columns cannot be written as JSON: {e}", self.describe())))?;
        let (staged, writer) = Staged::create(&self.path)?;
        self.writer = Some(Open { staged, writer: builder.build(BufWriter::new(writer)), schema });
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let open = self.writer.as_mut().ok_or_else(|| not_open("the JSON sink"))?;
        let columns = batch.columns().iter().zip(open.schema.fields());
        let columns = columns.map(|(c, field)| relabel(c, field.data_type())).collect::<Result<Vec<ArrayRef>>>()?;
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&open.schema), columns, &options)?;
        open.writer.write(&batch).map_err(|e| open.staged.error("JSON", e))
    }
    fn commit(&mut self) -> Result<()> {
        let Open { staged, mut writer, .. } = self.writer.take().ok_or_else(|| not_open("the JSON sink"))?;
        writer.finish().map_err(|e| staged.error("JSON", e))?;
        writer.into_inner().flush().map_err(|e| staged.error("JSON", e))?;
        staged.commit()
    }
    fn abort(&mut self) {
        self.writer = None;
    }
    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}
