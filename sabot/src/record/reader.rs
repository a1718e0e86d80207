//! From a batch to typed columns: matched by name, checked once per batch.

use arrow_array::{Array, ArrayRef, RecordBatch};

use super::{Bits, Column, Mismatch, Record, Value};
use crate::{Error, Result};

/// The columns of a batch that a record reads, in readable encodings, in the order of [`Record::columns`]. A column that
/// the batch lacks reads as blanks: plans prune columns that nobody looks at.
#[derive(Debug)]
pub struct Accepted {
    columns: Vec<Option<ArrayRef>>,
    rows: usize,
}

/// How strictly a batch is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// A missing column is an error.
    Refuse,
    /// A missing column reads as blanks.
    Blank,
}

impl Accepted {
    /// Matches a batch with record `R`.
    ///
    /// # Errors
    /// [`Error::Schema`] that lists each column that does not fit: name, expected, found.
    pub fn of<R: Record>(batch: &RecordBatch, missing: Missing, place: &str) -> Result<Self> {
        let mut wanted = Vec::new();
        R::columns(&mut wanted);
        Self::match_columns(&wanted, batch, missing, R::NAME, place)
    }

    /// As [`of`](Self::of), with the record's columns at hand.
    ///
    /// # Errors
    /// As for [`of`](Self::of).
    pub fn match_columns(wanted: &[Column], batch: &RecordBatch, missing: Missing, record: &str, place: &str) -> Result<Self> {
        let mut problems = Vec::new();
        let mut columns = Vec::with_capacity(wanted.len());
        for (i, want) in wanted.iter().enumerate() {
            let shadowed = wanted.iter().skip(i + 1).any(|later| later.name == want.name);
            let found = if shadowed { None } else { batch.column_by_name(&want.name) };
            let column = match found {
                None if shadowed || missing == Missing::Blank => None,
                None => {
                    problems.push((want.name.to_string(), describe(want), "(no such column)".to_owned()));
                    None
                }
                Some(array) => match (want.accept)(array) {
                    Err(Mismatch { expected, found }) => {
                        problems.push((want.name.to_string(), expected, found));
                        None
                    }
                    Ok(array) if !want.nullable && array.logical_null_count() > 0 => {
                        problems.push((want.name.to_string(), describe(want), first_null(&array)));
                        None
                    }
                    Ok(array) => Some(array),
                },
            };
            columns.push(column);
        }
        if problems.is_empty() {
            return Ok(Accepted { columns, rows: batch.num_rows() });
        }
        Err(Error::Schema { place: place.to_owned(), record: record.to_owned(), diff: table(&problems) })
    }
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// The accepted array of the column at this position of [`Record::columns`].
    pub fn get(&self, ordinal: usize) -> Option<&ArrayRef> {
        self.columns.get(ordinal).and_then(Option::as_ref)
    }
    /// The validity of the column at this position.
    pub fn validity(&self, ordinal: usize) -> Bits<'_> {
        self.get(ordinal).map_or(Bits::ALL, |a| Bits::of(a.as_ref()))
    }
    /// All arrays that are there.
    pub fn arrays(&self) -> impl Iterator<Item = &ArrayRef> {
        self.columns.iter().flatten()
    }
    /// Hands out the columns in order.
    pub fn reader(&self) -> Reader<'_> {
        Reader(Columns::Batch(&self.columns))
    }
}

/// Hands out accepted columns in the order of [`Record::columns`].
#[derive(Debug)]
pub struct Reader<'a>(Columns<'a>);
#[derive(Debug)]
enum Columns<'a> {
    Batch(&'a [Option<ArrayRef>]),
    Struct(&'a [ArrayRef]),
}
impl<'a> Reader<'a> {
    /// Over the children of an accepted struct column, as [`Value::accept`] returned them.
    pub(crate) fn of_struct(children: &'a [ArrayRef]) -> Self {
        Reader(Columns::Struct(children))
    }
    /// The next column, if it was not pruned.
    pub fn take(&mut self) -> Option<&'a ArrayRef> {
        match &mut self.0 {
            Columns::Batch(columns) => columns.split_off_first().and_then(Option::as_ref),
            Columns::Struct(columns) => columns.split_off_first(),
        }
    }
    /// The next column, as a `V`.
    pub fn next<V: Value>(&mut self) -> V::Read<'a> {
        V::read(self.take())
    }
}

pub(super) fn describe(column: &Column) -> String {
    if column.nullable { format!("{} (nullable)", column.data_type) } else { format!("{} (no nulls)", column.data_type) }
}

pub(super) fn first_null(array: &ArrayRef) -> String {
    let nulls = array.logical_nulls();
    let row = nulls.and_then(|n| (0..n.len()).find(|i| n.is_null(*i))).unwrap_or(0);
    format!("{} with a null in row {row}; make the field `Option<..>`", array.data_type())
}

/// An aligned table of column, expected, found.
pub fn table(rows: &[(String, String, String)]) -> String {
    let head = ("column".to_owned(), "expected".to_owned(), "found".to_owned());
    let all = || std::iter::once(&head).chain(rows);
    let a = all().map(|r| r.0.len()).max().unwrap_or(0);
    let b = all().map(|r| r.1.len()).max().unwrap_or(0);
    all().map(|r| format!("  {:a$} | {:b$} | {}", r.0, r.1, r.2)).collect::<Vec<_>>().join("\n")
}
