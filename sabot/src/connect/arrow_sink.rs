//! Writes an Arrow IPC file.

use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{Field, Schema, SchemaRef};

use super::staged::{Staged, StagedWriter, not_open};
use super::types::{convert, without_dictionaries};
use crate::Result;
use crate::operator::Sink;
use crate::record::own_text_column;

/// An Arrow IPC file that appears on commit, in place of an older one.
///
/// Dictionary columns are stored as plain values, because the file format allows a column only one dictionary.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use sabot::connect::ArrowSink;
/// use sabot::operator::Sink;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
/// let batch = RecordBatch::try_from_iter([("n", numbers)])?;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("numbers.arrow");
/// let mut sink = ArrowSink::new(&path);
/// sink.open(&batch.schema())?;
/// sink.write(&batch)?;
/// assert!(!path.exists(), "nothing shows before the commit");
/// sink.commit()?;
/// let back: Vec<_> = arrow_ipc::reader::FileReader::try_new(std::fs::File::open(&path)?, None)?.collect::<Result<_, _>>()?;
/// assert_eq!(back, [batch]);
/// # Ok(()) }
/// ```
pub struct ArrowSink {
    path: PathBuf,
    writer: Option<Open>,
}

struct Open {
    staged: Staged,
    writer: FileWriter<BufWriter<StagedWriter>>,
    schema: SchemaRef,
}

impl ArrowSink {
    /// A sink to the file `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        ArrowSink { path: path.into(), writer: None }
    }
}

impl Sink for ArrowSink {
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_data_type(without_dictionaries(f.data_type())));
        let schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<Field>>(), schema.metadata().clone()));
        let (staged, writer) = Staged::create(&self.path)?;
        let writer = FileWriter::try_new_buffered(writer, &schema).map_err(|e| staged.error("Arrow", e))?;
        self.writer = Some(Open { staged, writer, schema });
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let open = self.writer.as_mut().ok_or_else(|| not_open("the Arrow sink"))?;
        let columns = batch.columns().iter().zip(open.schema.fields());
        let columns = columns.map(|(c, field)| own_text_column(&convert(c, field.data_type())?)).collect::<Result<Vec<ArrayRef>>>()?;
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&open.schema), columns, &options)?;
        open.writer.write(&batch).map_err(|e| open.staged.error("Arrow", e))
    }
    fn commit(&mut self) -> Result<()> {
        let Open { staged, mut writer, .. } = self.writer.take().ok_or_else(|| not_open("the Arrow sink"))?;
        writer.finish().map_err(|e| staged.error("Arrow", e))?;
        writer.flush().map_err(|e| staged.error("Arrow", e))?;
        drop(writer);
        staged.commit()
    }
    fn abort(&mut self) {
        self.writer = None;
    }
    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}
