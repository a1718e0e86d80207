//! Reads one byte range of a CSV file: tokenise a batch of records, then parse it column by column.

use std::io::{Cursor, Read as _, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::Field;
use arrow_select::filter::filter;

use super::csv_cell;
use super::csv_options::OnBadLine;
use super::csv_source::{CsvFile, Shared, csv_error};
use super::csv_text::{fields, locate};
use super::types::plain;
use crate::operator::{Read, SplitReader};
use crate::{Error, Result};

/// Characters of a bad cell that a message shows.
const SHOWN_CHARS: usize = 40;

/// Reads the records of one byte range.
pub(crate) struct CsvReader {
    shared: Arc<Shared>,
    file: usize,
    /// What is left of the range; it begins at a record.
    range: Range<u64>,
    /// The range in memory, from the first read on, and the offset of its first byte in the file.
    text: Option<(csv::Reader<Cursor<Vec<u8>>>, u64)>,
    cells: Cells,
    failed: u64,
}

/// The projected cells of a batch of records, row by row.
#[derive(Default)]
struct Cells {
    bytes: Vec<u8>,
    /// Where each cell ends in `bytes`.
    ends: Vec<usize>,
    null: Vec<bool>,
    /// The range of each record in the file.
    records: Vec<Range<u64>>,
}

impl Cells {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.null.clear();
        self.records.clear();
    }

    /// The cells of one column.
    fn column(&self, column: usize, width: usize) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        (0..self.records.len()).map(move |row| {
            let cell = row * width + column;
            let start = cell.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
            let end = self.ends.get(cell).copied().unwrap_or(start);
            if self.null.get(cell).copied().unwrap_or(true) { None } else { self.bytes.get(start..end) }
        })
    }
}

impl CsvReader {
    pub(crate) fn new(shared: Arc<Shared>, file: usize, range: Range<u64>) -> Self {
        CsvReader { shared, file, range, text: None, cells: Cells::default(), failed: 0 }
    }

    fn file(&self) -> Result<&CsvFile> {
        self.shared.files.get(self.file).ok_or_else(|| Error::internal("a CSV reader without a file"))
    }

    /// Reads the range into memory, once.
    fn load(&mut self) -> Result<(csv::Reader<Cursor<Vec<u8>>>, u64)> {
        if let Some(text) = self.text.take() {
            return Ok(text);
        }
        let file = self.file()?;
        let io = |e| Error::io(&file.path, "cannot read", e);
        let mut input = std::fs::File::open(&file.path).map_err(io)?;
        input.seek(SeekFrom::Start(self.range.start)).map_err(io)?;
        let length = self.range.end - self.range.start;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        input.take(length).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 != length {
            let what = format!("the file became shorter while it was read ({} bytes were expected)", file.size);
            return Err(Error::Data { place: file.path.display().to_string(), what });
        }
        Ok((self.shared.dialect.reader(Cursor::new(bytes)), self.range.start))
    }

    /// Tokenises up to `max_rows` records. An error of a bad line is returned beside the good lines before it.
    fn tokenise(&mut self, reader: &mut csv::Reader<Cursor<Vec<u8>>>, base: u64, max_rows: usize) -> Result<Option<Error>> {
        let shared = Arc::clone(&self.shared);
        let file = shared.files.get(self.file).ok_or_else(|| Error::internal("a CSV reader without a file"))?;
        let mut record = csv::ByteRecord::new();
        self.cells.clear();
        while self.cells.records.len() < max_rows {
            let start = reader.position().byte();
            if !reader.read_byte_record(&mut record).map_err(|e| csv_error(&file.path, e))? {
                self.range.start = self.range.end;
                break;
            }
            let end = reader.position().byte();
            let text = reader.get_ref().get_ref();
            let raw = text.get(start as usize..end as usize).unwrap_or_default();
            let span = base + start..base + end;
            let at_end = end as usize == text.len();
            self.range.start = span.end;
            if at_end && shared.dialect.quote.is_some_and(|q| raw.contains(&q)) {
                let shape = fields(raw, shared.dialect);
                if !shape.closed {
                    let offset = shape.starts.last().map_or(span.start, |(at, _)| span.start + *at as u64);
                    return Ok(Some(bad_line(file, offset, "the quote that begins here is never closed".into())?));
                }
            }
            if record.len() != file.width {
                if shared.options.on_bad_line == OnBadLine::Skip {
                    self.failed += 1;
                    continue;
                }
                let lead = fields(raw, shared.dialect).starts.first().map_or(0, |(at, _)| *at as u64);
                let what = format!("the line has {} fields, expected {}", record.len(), file.width);
                return Ok(Some(bad_line(file, span.start + lead, what)?));
            }
            self.push(&record, raw, file, &shared);
            self.cells.records.push(span);
        }
        Ok(None)
    }

    /// Copies the projected cells of one record and tells nulls.
    fn push(&mut self, record: &csv::ByteRecord, raw: &[u8], file: &CsvFile, shared: &Shared) {
        let mut shape = None;
        for (expected, field) in shared.projection.iter().zip(shared.schema.fields()) {
            let index = file.fields.get(*expected).copied().unwrap_or(usize::MAX);
            let cell = record.get(index).unwrap_or_default();
            let text = super::types::is_text(field.data_type());
            let bare = if text { cell } else { cell.trim_ascii() };
            let mut null = (field.is_nullable() || !text) && shared.options.nulls.iter().any(|n| n.as_bytes() == bare);
            if null && shared.dialect.quote.is_some_and(|q| raw.contains(&q)) {
                let shape = shape.get_or_insert_with(|| fields(raw, shared.dialect));
                null = !shape.starts.get(index).is_some_and(|(_, quoted)| *quoted);
            }
            if !null {
                self.cells.bytes.extend_from_slice(cell);
            }
            self.cells.ends.push(self.cells.bytes.len());
            self.cells.null.push(null);
        }
    }

    /// Parses the tokenised records. Bad ones are an error or are left out.
    fn parse(&mut self) -> Result<RecordBatch> {
        let width = self.shared.projection.len();
        let mut rows = self.cells.records.len();
        let mut columns = Vec::with_capacity(width);
        let mut bad = Vec::new();
        for (c, field) in self.shared.schema.fields().iter().enumerate() {
            let mut rows = Vec::new();
            columns.push(csv_cell::parse(field.data_type(), self.cells.column(c, width), &mut rows)?);
            if !field.is_nullable() {
                rows.extend(self.cells.column(c, width).enumerate().filter_map(|(row, cell)| cell.is_none().then_some(row)));
            }
            bad.extend(rows.into_iter().map(|row| (row, c)));
        }
        if let Some(&(row, column)) = bad.iter().min() {
            if self.shared.options.on_bad_line == OnBadLine::Fail {
                return Err(self.bad_cell(row, column)?);
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
    fn bad_cell(&self, row: usize, column: usize) -> Result<Error> {
        let file = self.file()?;
        let span = self.cells.records.get(row).cloned().unwrap_or(0..0);
        let mut raw = Vec::new();
        let mut input = std::fs::File::open(&file.path).map_err(|e| Error::io(&file.path, "cannot read", e))?;
        input.seek(SeekFrom::Start(span.start)).map_err(|e| Error::io(&file.path, "cannot read", e))?;
        input.take(span.end - span.start).read_to_end(&mut raw).map_err(|e| Error::io(&file.path, "cannot read", e))?;
        let index = self.shared.projection.get(column).and_then(|e| file.fields.get(*e)).copied().unwrap_or(0);
        let start = fields(&raw, self.shared.dialect).starts.get(index).map_or(0, |(at, _)| *at as u64);
        let field = self
            .shared
            .schema
            .fields()
            .get(column)
            .map(|f| f.as_ref().clone())
            .unwrap_or_else(|| Field::new("", arrow_schema::DataType::Null, true));
        let expected = plain(field.data_type());
        let cell = self.cells.column(column, self.shared.projection.len()).nth(row).flatten();
        let what = match cell {
            None => format!("column `{}`: no value, expected {expected}; declare it as `Option<..>` if it may be missing", field.name()),
            Some(cell) if std::str::from_utf8(cell).is_err() => {
                format!("column `{}`: the text is not valid UTF-8: {}", field.name(), shown(cell))
            }
            Some(cell) => format!("column `{}`: found {}, expected {expected}", field.name(), shown(cell)),
        };
        bad_line(file, span.start + start, what)
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
            let (mut reader, base) = self.load()?;
            let pending = self.tokenise(&mut reader, base, max_rows.max(1))?;
            self.text = Some((reader, base));
            let batch = self.parse()?;
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
