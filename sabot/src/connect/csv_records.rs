//! The records of CSV text, tokenised: where each begins and where its fields end.

use std::ops::Range;

use super::csv_options::Dialect;
use super::csv_scan::{Scanner, Separators};
use crate::kernel::BLOCK;

/// Records of a text of at most 2^32 bytes, all with the same number of fields.
pub(crate) struct Records {
    dialect: Dialect,
    width: usize,
    starts: Vec<u32>,
    /// `width` per record.
    ends: Vec<u32>,
}

/// Why tokenising stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// There are enough records.
    Full,
    /// The text is at its end.
    End,
    /// The record that begins at this byte has another number of fields, `found`. It is left out.
    Fields { record: usize, found: usize },
    /// The field that begins at this byte has a quote that is never closed.
    Unclosed { field: usize },
}

/// The bytes of a field of the record that begins at a byte and has its fields end at others.
#[inline]
fn cell(start: u32, ends: &[u32], field: usize) -> Range<usize> {
    let start = field.checked_sub(1).and_then(|b| ends.get(b)).map_or(start, |e| e + 1) as usize;
    start..ends.get(field).map_or(start, |e| *e as usize)
}

impl Records {
    pub(crate) fn new(dialect: Dialect, width: usize) -> Self {
        Records { dialect, width, starts: Vec::new(), ends: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.starts.clear();
        self.ends.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The bytes of all records, from the first to the last.
    pub(crate) fn span(&self) -> Range<usize> {
        let start = self.starts.first().map_or(0, |s| *s as usize);
        start..self.ends.last().map_or(start, |e| *e as usize)
    }

    /// The bytes of a record, without its line end.
    pub(crate) fn record(&self, record: usize) -> Range<usize> {
        let start = self.starts.get(record).map_or(0, |s| *s as usize);
        let end = (record + 1) * self.width;
        start..end.checked_sub(1).and_then(|e| self.ends.get(e)).map_or(start, |e| *e as usize)
    }

    /// The bytes of a field of a record.
    pub(crate) fn cell(&self, record: usize, field: usize) -> Option<Range<usize>> {
        let start = self.starts.get(record)?;
        Some(cell(*start, self.ends.get(record * self.width..(record + 1) * self.width)?, field))
    }

    /// The bytes of one field in each record.
    pub(crate) fn field(&self, field: usize) -> impl Iterator<Item = Range<usize>> {
        self.starts.iter().zip(self.ends.chunks_exact(self.width.max(1))).map(move |(start, ends)| cell(*start, ends, field))
    }

    /// Adds records of `text` from byte `from`, where one begins, until there are `max`. Also gives the byte after them.
    ///
    /// Empty lines are passed over.
    pub(crate) fn read(&mut self, text: &[u8], from: usize, max: usize) -> (Stop, usize) {
        let mut scanner = Scanner::new(self.dialect);
        let mut record = from;
        let (blocks, tail) = text.get(from..).unwrap_or_default().as_chunks::<BLOCK>();
        let mut base = from;
        for block in blocks {
            if let Some(stop) = self.add(scanner.block(block), base, &mut record, max) {
                return (stop, record);
            }
            base += BLOCK;
        }
        if let Some(stop) = self.add(scanner.part(tail), base, &mut record, max) {
            return (stop, record);
        }
        if scanner.quoted() {
            let field =
                if self.ends.len() > self.len() * self.width { self.ends.last().map_or(record, |e| *e as usize + 1) } else { record };
            return (Stop::Unclosed { field }, text.len());
        }
        // A last record without a line end.
        if record < text.len() {
            self.ends.push(text.len() as u32);
            let begun = record;
            record = text.len();
            return (self.finish(begun, max).unwrap_or(Stop::End), record);
        }
        (Stop::End, text.len())
    }

    /// Adds the fields and records that end in the block at `base`. `record` is the start of the current one.
    #[inline]
    fn add(&mut self, separators: Separators, base: usize, record: &mut usize, max: usize) -> Option<Stop> {
        let mut rest = separators.fields;
        while rest != 0 {
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            let at = base + bit as usize;
            if separators.lines >> bit & 1 == 0 {
                self.ends.push(at as u32);
                continue;
            }
            let begun = std::mem::replace(record, at + 1);
            if at > begun {
                self.ends.push(at as u32);
                if let Some(stop) = self.finish(begun, max) {
                    return Some(stop);
                }
            }
        }
        None
    }

    /// Ends the record that begins at a byte.
    #[inline]
    fn finish(&mut self, record: usize, max: usize) -> Option<Stop> {
        let before = self.len() * self.width;
        let found = self.ends.len() - before;
        if found != self.width {
            self.ends.truncate(before);
            return Some(Stop::Fields { record, found });
        }
        self.starts.push(record as u32);
        (self.len() >= max).then_some(Stop::Full)
    }
}
