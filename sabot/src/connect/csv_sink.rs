//! Writes a CSV file.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::csv_lines::CsvLines;
use super::csv_options::{CsvOptions, Dialect};
use super::lasting::Lasting;
use super::staged::{Staged, StagedWriter, not_open};
use crate::Result;
use crate::operator::{Beginning, Prepared, Preparing, Sink, TwoPhase};

/// A CSV file that appears on commit, in place of an older one. With checkpoints it grows, hidden, and appears at the end.
///
/// What it writes, the CSV source reads back: a null is an empty field (in a file of one column, `NA`, since an empty
/// line is no record), an empty text and the text `NA` are quoted, timestamps with a zone are written in UTC, durations
/// as a number of units, bytes in hexadecimal.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use sabot::connect::CsvSink;
/// use sabot::operator::Sink;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
/// let batch = RecordBatch::try_from_iter([("n", numbers)])?;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("numbers.csv");
/// let mut sink = CsvSink::new(&path, &Default::default())?;
/// sink.open(&batch.schema())?;
/// sink.write(&batch)?;
/// assert!(!path.exists(), "nothing shows before the commit");
/// sink.commit()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "n\n1\n2\n");
/// # Ok(()) }
/// ```
pub struct CsvSink {
    path: PathBuf,
    dialect: Dialect,
    header: bool,
    open: Option<Open>,
    lasting: Lasting,
}

struct Open {
    staged: Staged,
    writer: BufWriter<StagedWriter>,
    lines: CsvLines,
}

impl CsvSink {
    /// A sink to the file `path`. Of `options`, the delimiter, the quote and the header count.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if the delimiter or the quote is impossible.
    pub fn new(path: impl Into<PathBuf>, options: &CsvOptions) -> Result<Self> {
        Ok(CsvSink { path: path.into(), dialect: options.dialect()?, header: options.header, open: None, lasting: Lasting::default() })
    }
}

impl Sink for CsvSink {
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        let lines = CsvLines::new(schema, self.dialect, self.describe())?;
        let Some((staged, writer, length)) = self.lasting.create(&self.path)? else { return Ok(()) };
        let mut open = Open { staged, writer: BufWriter::new(writer), lines };
        if self.header && length == 0 {
            let line = open.lines.header(schema)?;
            open.writer.write_all(line.as_bytes()).map_err(|e| open.staged.error("CSV", e))?;
        }
        self.open = Some(open);
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let Open { staged, writer, lines } = self.open.as_mut().ok_or_else(|| not_open("the CSV sink"))?;
        lines.each(batch, &mut |line| writer.write_all(line.as_bytes()).map_err(|e| staged.error("CSV", e)))
    }

    fn commit(&mut self) -> Result<()> {
        let Open { staged, mut writer, .. } = self.open.take().ok_or_else(|| not_open("the CSV sink"))?;
        writer.flush().map_err(|e| staged.error("CSV", e))?;
        drop(writer);
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

impl TwoPhase for CsvSink {
    fn begin(&mut self, beginning: Beginning<'_>) -> Result<()> {
        self.lasting.begin(&self.path, beginning)
    }

    fn prepare(&mut self, _epoch: u64, last: bool) -> Result<Preparing> {
        if let Some(Open { staged, writer, .. }) = &mut self.open {
            writer.flush().map_err(|e| staged.error("CSV", e))?;
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
