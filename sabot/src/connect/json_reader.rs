//! Reads one byte range of a file of JSON lines.

use std::io::{Read as _, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::csv_options::OnBadLine;
use super::csv_text::{BOM, locate};
use super::json_rows::JsonRows;
use super::line_numbers::LineNumbers;
use crate::operator::{BadRow, Read, SplitReader};
use crate::{Error, Result};

/// What all readers of one source share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The columns to deliver.
    pub(crate) schema: SchemaRef,
    pub(crate) on_bad_line: OnBadLine,
    /// Whether bad lines are handed over: then where their numbers come from.
    pub(crate) bad: Option<Arc<LineNumbers>>,
}

impl Shared {
    /// The same, with bad lines.
    ///
    /// # Errors
    /// If they are to be dropped.
    pub(crate) fn give_bad(&self, place: &str) -> Result<Self> {
        self.on_bad_line.give(place)?;
        Ok(Shared { bad: Some(Arc::default()), ..self.clone() })
    }
}

/// Reads the lines of one byte range.
pub(crate) struct JsonReader {
    shared: Arc<Shared>,
    path: PathBuf,
    /// What is left of the range; it begins at a line.
    range: Range<u64>,
    /// The range in memory, from the first read on, and the offset of its first byte in the file.
    text: Option<(Vec<u8>, u64)>,
    rows: JsonRows,
    failed: u64,
    bad: Vec<BadRow>,
}

impl JsonReader {
    pub(crate) fn new(shared: Arc<Shared>, path: PathBuf, range: Range<u64>) -> Result<Self> {
        let rows = JsonRows::new(&shared.schema, &path.display().to_string())?;
        Ok(JsonReader { shared, path, range, text: None, rows, failed: 0, bad: Vec::new() })
    }
    /// The range in memory, read once.
    fn load(&mut self) -> Result<()> {
        if self.text.is_some() {
            return Ok(());
        }
        let io = |e| Error::io(&self.path, "cannot read", e);
        let length = self.range.end - self.range.start;
        let mut input = std::fs::File::open(&self.path).map_err(io)?;
        input.seek(SeekFrom::Start(self.range.start)).map_err(io)?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        input.take(length).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 != length {
            let what = format!("the file became shorter while it was read (byte {} was expected)", self.range.end);
            return Err(Error::Data { place: self.path.display().to_string(), what });
        }
        self.text = Some((bytes, self.range.start));
        Ok(())
    }
    /// Takes up to `max_rows` lines; where each begins.
    fn take(&mut self, max_rows: usize) -> Vec<u64> {
        let mut starts = Vec::new();
        let Some((text, base)) = &self.text else { return starts };
        while self.range.start < self.range.end && starts.len() < max_rows {
            let rest = text.get((self.range.start - base) as usize..).unwrap_or_default();
            let length = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1);
            let line = rest.get(..length).unwrap_or_default();
            let line = if self.range.start == 0 { line.strip_prefix(BOM).unwrap_or(line) } else { line };
            if !line.iter().all(u8::is_ascii_whitespace) {
                starts.push(self.range.start);
                self.rows.push(line);
            }
            self.range.start += (length as u64).max(1);
        }
        starts
    }
    /// Notes a line that is not a row.
    fn bad(&mut self, offset: u64, why: &str) -> Result<()> {
        self.failed += 1;
        let Some(lines) = &self.shared.bad else { return Ok(()) };
        let position = lines.line(&self.path, offset)?;
        let text = self.text.as_ref().and_then(|(text, base)| text.get(usize::try_from(offset - base).ok()?..)).unwrap_or_default();
        let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.bad.push(BadRow::new(&self.path.display().to_string(), position, why, Some(line)));
        Ok(())
    }
}

impl SplitReader for JsonReader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        while self.range.start < self.range.end {
            self.load()?;
            let starts = self.take(max_rows.max(1));
            let (batch, bad) = self.rows.finish()?;
            let fails = self.shared.on_bad_line == OnBadLine::Fail && self.shared.bad.is_none();
            for (row, why) in bad {
                let offset = starts.get(row).copied().unwrap_or(self.range.start);
                if fails {
                    let (line, _) = locate(&self.path, offset).map_err(|e| Error::io(&self.path, "cannot read", e))?;
                    return Err(Error::Data { place: format!("{}:{line}", self.path.display()), what: why });
                }
                self.bad(offset, &why)?;
            }
            if batch.num_rows() > 0 {
                return Ok(Read::Rows(batch, None));
            }
        }
        self.text = None;
        Ok(Read::End)
    }
    fn position(&self) -> serde_json::Value {
        self.range.start.into()
    }
    fn take_failed(&mut self) -> u64 {
        std::mem::take(&mut self.failed)
    }
    fn take_bad(&mut self) -> Vec<BadRow> {
        std::mem::take(&mut self.bad)
    }
}
