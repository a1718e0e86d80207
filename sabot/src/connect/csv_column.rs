//! The cells of one column of tokenised CSV records, without quotes, and which of them are null.

use std::ops::Range;

use arrow_buffer::Buffer;

use super::csv_options::Dialect;
use super::csv_scan::unquote;

/// The length of a cell that is null.
const NULL: u32 = u32::MAX;

/// Where a cell's text is: in the text that was read or, from the end of that on, among the cells that had to be rewritten.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    len: u32,
}

/// What is asked of each cell of a column before it is parsed.
pub(crate) struct Rule {
    quote: Option<u8>,
    nulls: Vec<Vec<u8>>,
    /// Whether spaces around a null count.
    exact: bool,
    /// First bytes of cells that may be null or quoted.
    first: [bool; 256],
}

impl Rule {
    /// The rule of a column. `nulls` is empty where a text without null is expected.
    pub(crate) fn new(dialect: Dialect, nulls: &[String], exact: bool) -> Self {
        let begins = |b: u8| {
            let null = nulls.iter().any(|n| n.as_bytes().first() == Some(&b));
            dialect.quote == Some(b) || null || !exact && !nulls.is_empty() && b.is_ascii_whitespace()
        };
        let nulls = nulls.iter().map(|n| n.as_bytes().to_vec()).collect();
        Rule { quote: dialect.quote, nulls, exact, first: std::array::from_fn(|b| u8::try_from(b).is_ok_and(begins)) }
    }

    fn is_null(&self, cell: &[u8]) -> bool {
        let bare = if self.exact { cell } else { cell.trim_ascii() };
        self.nulls.iter().any(|n| n == bare)
    }
}

/// Cells found so far, reused from column to column.
#[derive(Default)]
pub(crate) struct Scratch {
    spans: Vec<Span>,
    rewritten: Vec<u8>,
}

/// The cells of one column.
#[derive(Clone, Copy)]
pub(crate) struct Column<'a> {
    text: &'a Buffer,
    /// A part of the text that is known to be valid UTF-8, and where it begins.
    valid: Option<(&'a str, usize)>,
    rewritten: &'a [u8],
    spans: &'a [Span],
    nulls: usize,
}

/// One cell that is not null.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'a> {
    column: &'a Column<'a>,
    span: Span,
}

impl<'a> Column<'a> {
    /// The cells in some places of the text.
    pub(crate) fn new(
        text: &'a Buffer,
        valid: Option<(&'a str, usize)>,
        places: impl Iterator<Item = Range<usize>>,
        rule: &Rule,
        scratch: &'a mut Scratch,
    ) -> Self {
        let Scratch { spans, rewritten } = scratch;
        spans.clear();
        rewritten.clear();
        let empty_is_null = rule.is_null(b"");
        let mut nulls = 0;
        spans.extend(places.map(|range| {
            let plain = Span { start: range.start as u32, len: (range.end - range.start) as u32 };
            let cell = text.get(range).unwrap_or_default();
            let special = cell.first().map_or(empty_is_null, |&b| rule.first.get(usize::from(b)).copied().unwrap_or(true));
            let span = if special { special_cell(cell, plain, rule, text.len(), rewritten) } else { plain };
            nulls += usize::from(span.len == NULL);
            span
        }));
        Column { text, valid, rewritten, spans, nulls }
    }

    /// Cells that were found elsewhere. `nothing` is an empty buffer.
    pub(crate) fn of(cells: &[Option<&[u8]>], nothing: &'a Buffer, scratch: &'a mut Scratch) -> Self {
        let Scratch { spans, rewritten } = scratch;
        spans.extend(cells.iter().map(|cell| {
            let start = rewritten.len() as u32;
            rewritten.extend_from_slice(cell.unwrap_or_default());
            Span { start, len: cell.map_or(NULL, |c| c.len() as u32) }
        }));
        Column { text: nothing, valid: None, rewritten, spans, nulls: cells.iter().filter(|c| c.is_none()).count() }
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// How many cells are null.
    pub(crate) fn nulls(&self) -> usize {
        self.nulls
    }

    /// The text that cells [lie in](Cell::place).
    pub(crate) fn text(&self) -> &'a Buffer {
        self.text
    }

    /// The cells, `None` for nulls.
    pub(crate) fn cells(&'a self) -> impl ExactSizeIterator<Item = Option<Cell<'a>>> {
        self.spans.iter().map(move |&span| (span.len != NULL).then_some(Cell { column: self, span }))
    }
}

/// A cell that may be null or quoted.
fn special_cell(cell: &[u8], plain: Span, rule: &Rule, text: usize, rewritten: &mut Vec<u8>) -> Span {
    let Some(quote) = rule.quote.filter(|q| cell.first() == Some(q)) else {
        return if rule.is_null(cell) { Span { start: 0, len: NULL } } else { plain };
    };
    // Nothing needs to be rewritten between two quotes at the ends.
    let within = cell.get(1..cell.len().saturating_sub(1)).unwrap_or_default();
    if cell.len() >= 2 && cell.last() == Some(&quote) && !within.contains(&quote) {
        return Span { start: plain.start + 1, len: plain.len - 2 };
    }
    let start = rewritten.len();
    unquote(cell, quote, rewritten);
    Span { start: (text + start) as u32, len: (rewritten.len() - start) as u32 }
}

impl<'a> Cell<'a> {
    /// Where the cell is in the column's text, if it was not rewritten: offset and length.
    pub(crate) fn place(self) -> Option<(u32, u32)> {
        ((self.span.start as usize) < self.column.text.len()).then_some((self.span.start, self.span.len))
    }

    #[inline]
    pub(crate) fn bytes(self) -> &'a [u8] {
        let (start, len) = (self.span.start as usize, self.span.len as usize);
        let text = self.column.text.as_slice();
        match start.checked_sub(text.len()) {
            None => text.get(start..start + len),
            Some(start) => self.column.rewritten.get(start..start + len),
        }
        .unwrap_or_default()
    }

    /// The cell as text, if it is valid UTF-8.
    #[inline]
    pub(crate) fn text(self) -> Option<&'a str> {
        let known = self.column.valid.and_then(|(text, at)| {
            let start = (self.span.start as usize).checked_sub(at)?;
            text.get(start..start + self.span.len as usize)
        });
        known.or_else(|| std::str::from_utf8(self.bytes()).ok())
    }
}
