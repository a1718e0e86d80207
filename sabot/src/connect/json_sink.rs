//! Writes a file with one JSON object per line.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_json::writer::{LineDelimited, Writer, WriterBuilder};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::lasting::Lasting;
use super::staged::{Staged, StagedWriter, not_open};
use super::types::{map_leaves, offset_zones, relabel};
use crate::operator::{Beginning, Prepared, Preparing, Sink, TwoPhase};
use crate::{Error, Result};

/// A JSON lines file that appears on commit, in place of an older one. Nulls are written, so that every line has every
/// column; bytes are written in hexadecimal, times as text, durations as a number of units. With checkpoints it grows, hidden, and appears at the end.
pub struct JsonSink {
    path: PathBuf,
    open: Option<Open>,
    lasting: Lasting,
}

struct Open {
    staged: Staged,
    lines: JsonLines<BufWriter<StagedWriter>>,
}

/// Batches as lines of JSON.
pub(crate) struct JsonLines<W: Write> {
    writer: Writer<W, LineDelimited>,
    schema: SchemaRef,
}

/// Lines of these columns, not tied to a writer yet.
///
/// # Errors
/// [`Error::Usage`] if a type has no form in JSON: refused now, not after hours.
pub(crate) fn json_lines<W: Write>(schema: &SchemaRef, place: &str) -> Result<impl FnOnce(W) -> JsonLines<W> + use<W>> {
    let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_data_type(counted(&offset_zones(f.data_type()))));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut probe = builder.clone().build::<_, LineDelimited>(Vec::new());
    let empty = RecordBatch::new_empty(Arc::clone(&schema));
    probe.write(&empty).map_err(|e| Error::usage(format!("{place}: these columns cannot be written as JSON: {e}")))?;
    Ok(move |to| JsonLines { writer: builder.build(to), schema })
}

/// Durations as numbers of units, which the source reads.
fn counted(t: &DataType) -> DataType {
    map_leaves(t, &|leaf| match leaf {
        DataType::Duration(_) => DataType::Int64,
        other => other.clone(),
    })
}

impl<W: Write> JsonLines<W> {
    /// Writes a batch; the outer error is about the rows, the inner one about the writer.
    ///
    /// # Errors
    /// If the columns are not those of the schema.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<Result<(), arrow_schema::ArrowError>> {
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(c, field)| relabel(c, field.data_type())).collect::<Result<Vec<ArrayRef>>>()?;
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(self.writer.write(&batch))
    }
}

impl JsonSink {
    /// A sink to the file `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        JsonSink { path: path.into(), open: None, lasting: Lasting::default() }
    }
}

impl Sink for JsonSink {
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        let lines = json_lines(schema, &self.describe())?;
        let Some((staged, writer, _)) = self.lasting.create(&self.path)? else { return Ok(()) };
        self.open = Some(Open { staged, lines: lines(BufWriter::new(writer)) });
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let open = self.open.as_mut().ok_or_else(|| not_open("the JSON sink"))?;
        open.lines.write(batch)?.map_err(|e| open.staged.error("JSON", e))
    }
    fn commit(&mut self) -> Result<()> {
        let Open { staged, lines: JsonLines { mut writer, .. } } = self.open.take().ok_or_else(|| not_open("the JSON sink"))?;
        writer.finish().map_err(|e| staged.error("JSON", e))?;
        writer.into_inner().flush().map_err(|e| staged.error("JSON", e))?;
        staged.commit()
    }
    fn abort(&mut self) {
        self.open = None;
    }
    fn two_phase(&mut self) -> Option<&mut dyn TwoPhase> {
        Some(self)
    }
    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

impl TwoPhase for JsonSink {
    fn begin(&mut self, beginning: Beginning<'_>) -> Result<()> {
        self.lasting.begin(&self.path, beginning)
    }
    fn prepare(&mut self, _epoch: u64, last: bool) -> Result<Preparing> {
        if let Some(Open { staged, lines }) = &mut self.open {
            lines.writer.get_mut().flush().map_err(|e| staged.error("JSON", e))?;
        }
        let preparing = self.lasting.prepare(&self.path, self.open.as_ref().map(|o| &o.staged), last)?;
        if last {
            self.open = None;
        }
        Ok(preparing)
    }
    fn publish(&mut self, prepared: &Prepared) -> Result<()> {
        Lasting::publish(prepared)
    }
}
