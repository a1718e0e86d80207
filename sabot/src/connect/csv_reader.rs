//! Reads one byte range of a CSV file: tokenise a batch of records, then parse it column by column.

use std::io::{Read as _, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_buffer::Buffer;
use arrow_select::filter::filter;

use super::csv_cell;
use super::csv_column::{Column, Rule, Scratch};
use super::csv_options::OnBadLine;
use super::csv_records::{Records, Stop};
use super::csv_source::{CsvFile, Shared};
use super::csv_text::locate;
use super::types::plain;
use crate::operator::{Read, SplitReader};
use crate::{Error, Result};

/// Characters of a bad cell that a message shows.
const SHOWN_CHARS: usize = 40;

/// Bytes of a range that can be read: offsets have 32 bits, and half of them are for cells that are rewritten.
const MOST_BYTES: u64 = 1 << 31;

/// Reads the records of one byte range.
pub(crate) struct CsvReader {
    shared: Arc<Shared>,
    file: CsvFile,
    /// What is left of the range; it begins at a record.
    range: Range<u64>,
    /// The range in memory, from the first read on, and the offset of its first byte in the file.
    text: Option<(Buffer, u64)>,
    records: Records,
    scratch: Scratch,
    /// For each column to deliver, the field that holds it and what is asked of its cells.
    columns: Vec<(usize, Rule)>,
    failed: u64,
}

impl CsvReader {
    pub(crate) fn new(shared: Arc<Shared>, file: CsvFile, range: Range<u64>) -> Self {
        let columns = shared.projection.iter().zip(shared.schema.fields()).map(|(expected, field)| {
            let text = super::types::is_text(field.data_type());
            let nulls = if field.is_nullable() || !text { shared.options.nulls.as_slice() } else { &[] };
            (file.fields.get(*expected).copied().unwrap_or(usize::MAX), Rule::new(shared.dialect, nulls, text))
        });
        let (columns, records) = (columns.collect(), Records::new(shared.dialect, file.width));
        CsvReader { shared, file, range, text: None, records, scratch: Scratch::default(), columns, failed: 0 }
    }

    /// The range in memory, read once.
    fn load(&mut self) -> Result<(Buffer, u64)> {
        if let Some(text) = &self.text {
            return Ok(text.clone());
        }
        let file = &self.file;
        let length = self.range.end - self.range.start;
        if length >= MOST_BYTES {
            let what = format!("{length} bytes follow without a line end outside quotes, too many to read; is a quote never closed?");
            return Err(bad_line(file, self.range.start, what)?);
        }
        let io = |e| Error::io(&file.path, "cannot read", e);
        let mut input = std::fs::File::open(&file.path).map_err(io)?;
        input.seek(SeekFrom::Start(self.range.start)).map_err(io)?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        input.take(length).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 != length {
            let what = format!("the file became shorter while it was read ({} bytes were expected)", file.size);
            return Err(Error::Data { place: file.path.display().to_string(), what });
        }
        let text = (Buffer::from_vec(bytes), self.range.start);
        self.text = Some(text.clone());
        Ok(text)
    }

    /// Tokenises up to `max_rows` records. An error of a bad line is returned beside the good lines before it.
    fn tokenise(&mut self, text: &[u8], base: u64, max_rows: usize) -> Result<Option<Error>> {
        self.records.clear();
        loop {
            let (stop, next) = self.records.read(text, (self.range.start - base) as usize, max_rows);
            self.range.start = base + next as u64;
            let (place, what) = match stop {
                Stop::Full | Stop::End => return Ok(None),
                Stop::Fields { .. } if self.shared.options.on_bad_line == OnBadLine::Skip => {
                    self.failed += 1;
                    continue;
                }
                Stop::Fields { record, found } => (record, format!("the line has {found} fields, expected {}", self.file.width)),
                Stop::Unclosed { field } => (field, "the quote that begins here is never closed".into()),
            };
            return Ok(Some(bad_line(&self.file, base + place as u64, what)?));
        }
    }

    /// Parses the tokenised records. Bad ones are an error or are left out.
    fn parse(&mut self, text: &Buffer, base: u64) -> Result<RecordBatch> {
        let mut rows = self.records.len();
        let mut columns = Vec::with_capacity(self.columns.len());
        let mut bad = Vec::new();
        let shared = Arc::clone(&self.shared);
        // Texts are checked all at once: they begin and end at ASCII characters.
        let span = self.records.span();
        let any_text = shared.schema.fields().iter().any(|f| super::types::is_text(f.data_type()));
        let valid = text.get(span.clone()).filter(|_| any_text).and_then(|t| std::str::from_utf8(t).ok()).map(|t| (t, span.start));
        for (c, (field, (index, rule))) in shared.schema.fields().iter().zip(&self.columns).enumerate() {
            let column = Column::new(text, valid, &self.records, *index, rule, &mut self.scratch);
            let mut rows = Vec::new();
            columns.push(csv_cell::parse(field.data_type(), &column, &mut rows)?);
            if !field.is_nullable() && column.nulls() > 0 {
                rows.extend(column.cells().enumerate().filter_map(|(row, cell)| cell.is_none().then_some(row)));
            }
            bad.extend(rows.into_iter().map(|row| (row, c)));
        }
        if let Some(&(row, column)) = bad.iter().min() {
            if self.shared.options.on_bad_line == OnBadLine::Fail {
                return Err(self.bad_cell(text, base, row, column)?);
            }
            let mut keep = vec![true; rows];
            for (row, _) in &bad {
                if let Some(k) = keep.get_mut(*row) {
                    *k = false;
                }
            }
            let kept = keep.iter().filter(|k| **k).count();
            self.failed += (rows - kept) as u64;
            rows = kept;
            let keep = BooleanArray::from(keep);
            columns = columns.iter().map(|c| filter(c, &keep)).collect::<Result<Vec<_>, _>>()?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.shared.schema), columns, &options)?)
    }

    /// The error of a cell that is not what its column expects.
    fn bad_cell(&mut self, text: &Buffer, base: u64, row: usize, column: usize) -> Result<Error> {
        let none = || Error::internal("a bad CSV cell that is not there");
        let (index, rule) = self.columns.get(column).ok_or_else(none)?;
        let place = self.records.field(*index).nth(row).ok_or_else(none)?.start;
        let field = self.shared.schema.fields().get(column).ok_or_else(none)?;
        let (name, expected) = (field.name(), plain(field.data_type()));
        let cells = Column::new(text, None, &self.records, *index, rule, &mut self.scratch);
        let what = match cells.cells().nth(row).flatten() {
            None => format!("column `{name}`: no value, expected {expected}; declare it as `Option<..>` if it may be missing"),
            Some(cell) if cell.text().is_none() => format!("column `{name}`: the text is not valid UTF-8: {}", shown(cell.bytes())),
            Some(cell) => format!("column `{name}`: found {}, expected {expected}", shown(cell.bytes())),
        };
        bad_line(&self.file, base + place as u64, what)
    }
}

/// A cell as a message shows it.
fn shown(cell: &[u8]) -> String {
    let text = String::from_utf8_lossy(cell);
    let mut short: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN_CHARS {
        short.push_str("...");
    }
    format!("`{short}`")
}

/// An error at a byte of a file, by line and character.
fn bad_line(file: &CsvFile, offset: u64, what: String) -> Result<Error> {
    let (line, column) = locate(&file.path, offset).map_err(|e| Error::io(&file.path, "cannot read", e))?;
    Ok(Error::Data { place: format!("{}:{line}:{column}", file.path.display()), what })
}

impl SplitReader for CsvReader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        while self.range.start < self.range.end {
            let (text, base) = self.load()?;
            let pending = self.tokenise(&text, base, max_rows.max(1))?;
            let batch = self.parse(&text, base)?;
            if let Some(error) = pending {
                return Err(error);
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
}
