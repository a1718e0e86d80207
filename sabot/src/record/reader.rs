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

/// Where a batch has a column.
enum Place {
    At(usize),
    /// It is not looked for.
    Skip,
    Absent,
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
        let place_of = |(i, want): (usize, &Column)| {
            let shadowed = wanted.iter().skip(i + 1).any(|later| later.name == want.name);
            match batch.schema_ref().index_of(&want.name) {
                Ok(place) if !shadowed => Place::At(place),
                Err(_) if !shadowed && missing == Missing::Refuse => Place::Absent,
                _ => Place::Skip,
            }
        };
        Self::matched(wanted, batch, wanted.iter().enumerate().map(place_of), record, place)
    }
    /// With the batch's column for each wanted one at hand.
    pub(crate) fn at(
        wanted: &[Column],
        batch: &RecordBatch,
        places: impl Iterator<Item = Option<usize>>,
        record: &str,
        place: &str,
    ) -> Result<Self> {
        Self::matched(wanted, batch, places.map(|p| p.map_or(Place::Skip, Place::At)), record, place)
    }
    /// One column of a record with `columns` of them.
    pub(crate) fn single(columns: usize, ordinal: usize, array: ArrayRef) -> Self {
        let rows = array.len();
        let mut all: Vec<Option<ArrayRef>> = vec![None; columns];
        all.iter_mut().skip(ordinal).take(1).for_each(|c| *c = Some(ArrayRef::clone(&array)));
        Accepted { columns: all, rows }
    }
    fn matched(wanted: &[Column], batch: &RecordBatch, places: impl Iterator<Item = Place>, record: &str, place: &str) -> Result<Self> {
        let mut problems = Vec::new();
        let mut columns = Vec::with_capacity(wanted.len());
        for (want, at) in wanted.iter().zip(places) {
            if let Place::Absent = at {
                problems.push((want.name.to_string(), describe(want), "(no such column)".to_owned()));
            }
            let Some(array) = (if let Place::At(p) = at { batch.columns().get(p) } else { None }) else {
                columns.push(None);
                continue;
            };
            let column = match (want.accept)(array) {
                Err(Mismatch { expected, found }) => {
                    problems.push((want.name.to_string(), expected, found));
                    None
                }
                Ok(array) if !want.nullable && array.logical_null_count() > 0 => {
                    problems.push((want.name.to_string(), describe(want), first_null(&array)));
                    None
                }
                Ok(array) => Some(array),
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
    #[allow(clippy::should_implement_trait)] // each column has a type of its own: it cannot be an iterator
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
