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
use crate::operator::{BadRow, Read, SplitReader};
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
    bad: Vec<BadRow>,
}

impl CsvReader {
    pub(crate) fn new(shared: Arc<Shared>, file: CsvFile, range: Range<u64>) -> Self {
        let columns = shared.projection.iter().zip(shared.schema.fields()).map(|(expected, field)| {
            let text = super::types::is_text(field.data_type());
            let nulls = if field.is_nullable() || !text { shared.options.nulls.as_slice() } else { &[] };
            (file.fields.get(*expected).copied().unwrap_or(usize::MAX), Rule::new(shared.dialect, nulls, text))
        });
        let (columns, records) = (columns.collect(), Records::new(shared.dialect, file.width));
        CsvReader { shared, file, range, text: None, records, scratch: Scratch::default(), columns, failed: 0, bad: Vec::new() }
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
            let fields = |found: usize| format!("the line has {found} fields, expected {}", self.file.width);
            let (place, what) = match stop {
                Stop::Full | Stop::End => return Ok(None),
                Stop::Fields { record, found } if self.shared.bad.is_some() => {
                    let why = fields(found);
                    self.bad(text, base, record..next, &why)?;
                    continue;
                }
                Stop::Fields { .. } if self.shared.options.on_bad_line == OnBadLine::Skip => {
                    self.failed += 1;
                    continue;
                }
                Stop::Fields { record, found } => (record, fields(found)),
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
            let column = Column::new(text, valid, self.records.field(*index), rule, &mut self.scratch);
            let mut rows = Vec::new();
            columns.push(csv_cell::parse(field.data_type(), &column, &mut rows)?);
            if !field.is_nullable() && column.nulls() > 0 {
                rows.extend(column.cells().enumerate().filter_map(|(row, cell)| cell.is_none().then_some(row)));
            }
            bad.extend(rows.into_iter().map(|row| (row, c)));
        }
        // of a row that has several, the first is told
        bad.sort_unstable();
        bad.dedup_by_key(|(row, _)| *row);
        if let Some(&(row, column)) = bad.first() {
            if self.shared.bad.is_some() {
                for &(row, column) in &bad {
                    let (_, why) = self.bad_cell(text, row, column)?;
                    self.bad(text, base, self.records.record(row), &why)?;
                }
            } else if self.shared.options.on_bad_line == OnBadLine::Fail {
                let (place, why) = self.bad_cell(text, row, column)?;
                return Err(bad_line(&self.file, base + place as u64, why)?);
            } else {
                self.failed += bad.len() as u64;
            }
            let mut keep = vec![true; rows];
            for (row, _) in &bad {
                if let Some(k) = keep.get_mut(*row) {
                    *k = false;
                }
            }
            rows -= bad.len();
            let keep = BooleanArray::from(keep);
            columns = columns.iter().map(|c| filter(c, &keep)).collect::<Result<Vec<_>, _>>()?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.shared.schema), columns, &options)?)
    }

    /// Notes a record that is not a row.
    fn bad(&mut self, text: &[u8], base: u64, record: Range<usize>, why: &str) -> Result<()> {
        self.failed += 1;
        let Some(lines) = &self.shared.bad else { return Ok(()) };
        let path = &self.file.path;
        let position = lines.line(path, base + record.start as u64)?;
        let text = text.get(record).unwrap_or_default();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        self.bad.push(BadRow::new(&path.display().to_string(), position, why, Some(text)));
        Ok(())
    }

    /// Where a cell is that is not what its column expects, and what is wrong with it.
    fn bad_cell(&mut self, text: &Buffer, row: usize, column: usize) -> Result<(usize, String)> {
        let none = || Error::internal("a bad CSV cell that is not there");
        let (index, rule) = self.columns.get(column).ok_or_else(none)?;
        let range = self.records.cell(row, *index).ok_or_else(none)?;
        let place = range.start;
        let field = self.shared.schema.fields().get(column).ok_or_else(none)?;
        let (name, expected) = (field.name(), plain(field.data_type()));
        let cells = Column::new(text, None, std::iter::once(range), rule, &mut self.scratch);
        let what = match cells.cells().next().flatten() {
            None => format!("column `{name}`: no value, expected {expected}; declare it as `Option<..>` if it may be missing"),
            Some(cell) if cell.text().is_none() => format!("column `{name}`: the text is not valid UTF-8: {}", shown(cell.bytes())),
            Some(cell) => format!("column `{name}`: found {}, expected {expected}", shown(cell.bytes())),
        };
        Ok((place, what))
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

    fn take_bad(&mut self) -> Vec<BadRow> {
        let mut bad = std::mem::take(&mut self.bad);
        bad.sort_by_key(|b| b.position);
        bad
    }
}
