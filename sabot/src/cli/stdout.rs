//! Standard output as a sink: rows appear as they come, since a pipe cannot take them back. Of changes it prints the rows that are left
//! at the end, or, if there is none, the changes with a column `weight`.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};

use super::table::Table;
use crate::connect::{CsvLines, CsvOptions, Fold, JsonLines, json_lines};
use crate::operator::{Changing, Sink, WEIGHT, without_weights};
use crate::{Error, Result};

/// Rows of a table that are shown without `--all`.
const SHOWN: u64 = 40;

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Aligned columns, `limit` rows; `live` prints rows at once instead of measuring all columns first.
    Table { limit: Option<u64>, live: bool },
    /// With a header.
    Csv,
    /// One object per line.
    Json,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// The format that the user asked for, else a table on a terminal and CSV in a pipe.
    pub(super) fn choose(asked: Option<&str>, all: bool, endless: bool) -> Self {
        let table = Format::Table { limit: (!all && !endless).then_some(SHOWN), live: endless };
        match asked {
            Some("table") => table,
            Some("csv") => Format::Csv,
            Some("json") => Format::Json,
            Some("arrow") => Format::Arrow,
            _ if io::stdout().is_terminal() => table,
            _ => Format::Csv,
        }
    }
}

enum Writer {
    Table(Table),
    Csv(CsvLines),
    Json(JsonLines<io::Stdout>),
    Arrow(Box<StreamWriter<io::Stdout>>),
}

/// Prints rows.
pub(super) struct StdoutSink {
    format: Format,
    /// Set when the reader of our output has gone away.
    gone: Arc<AtomicBool>,
    writer: Option<Writer>,
    taken_back: TakenBack,
}

/// What becomes of rows that are taken back.
enum TakenBack {
    /// There are none.
    Never,
    /// They are left out, at the end.
    AtTheEnd(Option<Fold>),
    /// They are printed with their weight.
    Shown,
}

/// The columns of changes as they are printed.
fn shown(schema: &SchemaRef) -> SchemaRef {
    let name = |f: &Field| if f.name() == WEIGHT { f.clone().with_name("weight") } else { f.clone() };
    Arc::new(Schema::new(schema.fields().iter().map(|f| name(f)).collect::<Vec<_>>()))
}

impl StdoutSink {
    pub(super) fn new(format: Format, gone: Arc<AtomicBool>) -> Self {
        StdoutSink { format, gone, writer: None, taken_back: TakenBack::Never }
    }
    fn put(&self, text: &str) -> Result<()> {
        self.check(io::stdout().write_all(text.as_bytes()))
    }
    fn check(&self, result: io::Result<()>) -> Result<()> {
        result.map_err(|e| {
            if e.kind() == io::ErrorKind::BrokenPipe {
                self.gone.store(true, SeqCst);
            }
            Error::io("standard output", "cannot write", e)
        })
    }
    fn arrow(&self, result: Result<(), ArrowError>) -> Result<()> {
        match result {
            Err(ArrowError::IoError(_, e)) => self.check(Err(e)),
            // Some writers flatten the error of the operating system to text.
            Err(e) if e.to_string().contains("Broken pipe") => self.check(Err(io::ErrorKind::BrokenPipe.into())),
            other => Ok(other?),
        }
    }
    fn print(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        match &mut writer {
            Writer::Table(table) => self.put(&table.add(batch)?)?,
            Writer::Csv(lines) => {
                let mut text = String::new();
                lines.each(batch, &mut |line| {
                    text.push_str(line);
                    Ok(())
                })?;
                self.put(&text)?;
            }
            Writer::Json(lines) => self.arrow(lines.write(batch)?)?,
            Writer::Arrow(stream) => self.arrow(stream.write(batch))?,
        }
        self.check(io::stdout().flush())?;
        self.writer = Some(writer);
        Ok(())
    }
}

impl Sink for StdoutSink {
    fn changes(&mut self, changing: Changing<'_>) -> Result<()> {
        self.taken_back = if changing.ends { TakenBack::AtTheEnd(None) } else { TakenBack::Shown };
        Ok(())
    }
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        let schema = &match &mut self.taken_back {
            TakenBack::Never => SchemaRef::clone(schema),
            TakenBack::AtTheEnd(fold) => {
                let bare = without_weights(&RecordBatch::new_empty(SchemaRef::clone(schema)))?.schema();
                *fold = Some(Fold::new(&bare)?);
                bare
            }
            TakenBack::Shown => shown(schema),
        };
        let writer = match self.format {
            Format::Table { limit, live } => Writer::Table(Table::new(schema, limit, live)),
            Format::Csv => {
                let lines = CsvLines::new(schema, CsvOptions::default().dialect()?, self.describe())?;
                self.put(&lines.header(schema)?)?;
                Writer::Csv(lines)
            }
            Format::Json => Writer::Json(json_lines(schema, &self.describe())?(io::stdout())),
            Format::Arrow => Writer::Arrow(Box::new(StreamWriter::try_new(io::stdout(), schema)?)),
        };
        self.writer = Some(writer);
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.taken_back {
            TakenBack::AtTheEnd(Some(fold)) => fold.add(batch),
            TakenBack::Shown => {
                let batch = batch.clone().with_schema(shown(batch.schema_ref()))?;
                self.print(&batch)
            }
            _ => self.print(batch),
        }
    }
    fn commit(&mut self) -> Result<()> {
        if let TakenBack::AtTheEnd(Some(mut fold)) = std::mem::replace(&mut self.taken_back, TakenBack::Never) {
            fold.finish()?.iter().try_for_each(|batch| self.print(batch))?;
        }
        match self.writer.take() {
            Some(Writer::Table(mut table)) => self.put(&table.finish()?)?,
            Some(Writer::Arrow(mut stream)) => self.arrow(stream.finish())?,
            _ => {}
        }
        self.check(io::stdout().flush())
    }
    fn abort(&mut self) {
        self.writer = None;
    }
    fn describe(&self) -> String {
        "standard output".into()
    }
}
