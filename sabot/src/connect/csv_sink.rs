//! Writes a CSV file.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::csv_lines::CsvLines;
use super::csv_options::{CsvOptions, Dialect};
use super::lines_file::{Lines, LinesFile};
use super::staged::StagedWriter;
use crate::Result;
use crate::operator::{Sink, TwoPhase};

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
    file: LinesFile<Open>,
    dialect: Dialect,
    header: bool,
}

struct Open {
    writer: BufWriter<StagedWriter>,
    lines: CsvLines,
}

impl Lines for Open {
    type Error = std::io::Error;
    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

impl CsvSink {
    /// A sink to the file `path`. Of `options`, the delimiter, the quote and the header count.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if the delimiter or the quote is impossible.
    pub fn new(path: impl Into<PathBuf>, options: &CsvOptions) -> Result<Self> {
        Ok(CsvSink { file: LinesFile::new(path.into(), "CSV"), dialect: options.dialect()?, header: options.header })
    }
}

impl Sink for CsvSink {
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        let lines = CsvLines::new(schema, self.dialect, self.describe())?;
        let header = if self.header { lines.header(schema)? } else { String::new() };
        self.file.create(|writer, length| {
            let mut writer = BufWriter::new(writer);
            if length == 0 {
                writer.write_all(header.as_bytes())?;
            }
            Ok(Open { writer, lines })
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let (file, Open { writer, lines }) = self.file.open()?;
        lines.each(batch, &mut |line| writer.write_all(line.as_bytes()).map_err(|e| file.error("CSV", e)))
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
