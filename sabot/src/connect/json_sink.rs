//! Writes a file with one JSON object per line.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_json::writer::{LineDelimited, Writer, WriterBuilder};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::lines_file::{Lines, LinesFile};
use super::staged::StagedWriter;
use super::types::{map_leaves, offset_zones, relabel};
use crate::operator::{Sink, TwoPhase};
use crate::{Error, Result};

/// A JSON lines file that appears on commit, in place of an older one. Nulls are written, so that every line has every
/// column; bytes are written in hexadecimal, times as text, durations as a number of units. With checkpoints it grows, hidden, and appears at the end.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use sabot::connect::JsonSink;
/// use sabot::operator::Sink;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
/// let batch = RecordBatch::try_from_iter([("n", numbers)])?;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("numbers.jsonl");
/// let mut sink = JsonSink::new(&path);
/// sink.open(&batch.schema())?;
/// sink.write(&batch)?;
/// assert!(!path.exists(), "nothing shows before the commit");
/// sink.commit()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "{\"n\":1}\n{\"n\":2}\n");
/// # Ok(()) }
/// ```
pub struct JsonSink {
    file: LinesFile<JsonLines<BufWriter<StagedWriter>>>,
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

/// Lines are whole when they are written: at the end nothing is missing.
impl Lines for JsonLines<BufWriter<StagedWriter>> {
    type Error = std::io::Error;
    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.get_mut().flush()
    }
}

impl JsonSink {
    /// A sink to the file `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        JsonSink { file: LinesFile::new(path.into(), "JSON") }
    }
}

impl Sink for JsonSink {
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        let lines = json_lines(schema, &self.describe())?;
        self.file.create(|writer, _| Ok(lines(BufWriter::new(writer))))
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let (file, lines) = self.file.open()?;
        lines.write(batch)?.map_err(|e| file.error("JSON", e))
    }
    fn commit(&mut self) -> Result<()> {
        self.file.commit()
    }
    fn abort(&mut self) {
        self.file.abort();
    }
    fn two_phase(&mut self) -> Option<&mut dyn TwoPhase> {
        Some(&mut self.file)
    }
    fn describe(&self) -> String {
        self.file.describe()
    }
}
