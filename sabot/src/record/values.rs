//! Rows of several columns whose types are known: the arguments of an aggregate, the rows of a record.
//!
//! The checked way to single rows, for code that walks rows in an order of its own (groups, keys, joins) instead of 64 at
//! a time: [`Args`] and [`Rows`] own the proof that a row exists in every column, so their `get` is safe.

use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;

use super::{Accepted, Lane, Mismatch, Record, Value, View, Window};

/// A cons list of column types.
pub trait Values: 'static {
    /// Their borrowed values, as a cons list.
    type Refs<'a>: Copy;
    /// Typed access to the columns.
    type Read<'a>: Copy;
    /// Number of columns.
    const LEN: usize;
    /// Brings the columns into readable encodings.
    ///
    /// # Errors
    /// If a column has another type.
    fn accept(arrays: &[ArrayRef]) -> Result<Vec<ArrayRef>, Mismatch>;
    /// Typed access to accepted columns.
    fn read<'a>(arrays: &'a [ArrayRef]) -> Self::Read<'a>;
    /// The values of a row.
    fn get<'a>(read: Self::Read<'a>, row: &Row1) -> Self::Refs<'a>;
    /// The rows in which no column is null that must not be; `None` if there is no null at all.
    fn valid(arrays: &[ArrayRef]) -> Option<NullBuffer>;
}

/// A row that exists in every column that is read with it. Only [`Args`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct Row1 {
    window: Window,
    lane: Lane,
}

impl Values for () {
    type Refs<'a> = ();
    type Read<'a> = ();
    const LEN: usize = 0;
    fn accept(_: &[ArrayRef]) -> Result<Vec<ArrayRef>, Mismatch> {
        Ok(Vec::new())
    }
    fn read<'a>(_: &'a [ArrayRef]) -> Self::Read<'a> {}
    fn get<'a>(_: Self::Read<'a>, _: &Row1) -> Self::Refs<'a> {}
    fn valid(_: &[ArrayRef]) -> Option<NullBuffer> {
        None
    }
}

impl<V: Value, Rest: Values> Values for (V, Rest) {
    type Refs<'a> = (V::Ref<'a>, Rest::Refs<'a>);
    type Read<'a> = (V::Read<'a>, Rest::Read<'a>);
    const LEN: usize = 1 + Rest::LEN;
    fn accept(arrays: &[ArrayRef]) -> Result<Vec<ArrayRef>, Mismatch> {
        let Some((first, rest)) = arrays.split_first() else {
            return Err(Mismatch { expected: V::data_type().to_string(), found: "(no such column)".into() });
        };
        let mut out = vec![V::accept(first)?];
        out.extend(Rest::accept(rest)?);
        Ok(out)
    }
    fn read<'a>(arrays: &'a [ArrayRef]) -> Self::Read<'a> {
        (V::read(arrays.first()), Rest::read(arrays.get(1..).unwrap_or(&[])))
    }
    #[inline]
    fn get<'a>(read: Self::Read<'a>, row: &Row1) -> Self::Refs<'a> {
        (V::lane::<false>(V::chunk(read.0, row.window), row.lane), Rest::get(read.1, row))
    }
    fn valid(arrays: &[ArrayRef]) -> Option<NullBuffer> {
        let own = if V::NULLABLE { None } else { arrays.first().and_then(|a| a.logical_nulls()).filter(|n| n.null_count() > 0) };
        NullBuffer::union(own.as_ref(), Rest::valid(arrays.get(1..).unwrap_or(&[])).as_ref())
    }
}

/// Checked access to the rows of accepted columns.
pub struct Args<'a, T: Values> {
    read: T::Read<'a>,
    rows: usize,
    valid: Option<NullBuffer>,
}

impl<T: Values> std::fmt::Debug for Args<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Args").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<'a, T: Values> Args<'a, T> {
    /// Over arrays as [`Values::accept`] returned them, each of `rows` rows.
    ///
    /// # Errors
    /// If an array is missing, or has fewer rows.
    pub fn new(arrays: &'a [ArrayRef], rows: usize) -> Result<Self, Mismatch> {
        let arrays =
            arrays.get(..T::LEN).ok_or_else(|| Mismatch { expected: format!("{} columns", T::LEN), found: arrays.len().to_string() })?;
        if let Some(short) = arrays.iter().find(|a| a.len() != rows) {
            return Err(Mismatch { expected: format!("{rows} rows"), found: format!("{} rows", short.len()) });
        }
        Ok(Args { read: T::read(arrays), rows, valid: T::valid(arrays) })
    }
    /// The values of a row; `None` if there is no such row, or if a column is null in it that must not be.
    #[inline]
    pub fn get(&self, row: usize) -> Option<T::Refs<'a>> {
        if row >= self.rows || self.valid.as_ref().is_some_and(|v| v.is_null(row)) {
            return None;
        }
        // SAFETY: every column has `rows` rows (checked in `new`), so the window of one row at `row` lies within all
        // of them, and lane 0 within the window. Columns that must not be null are not null in this row.
        let row = unsafe { Row1 { window: Window::new(row, 1), lane: Lane::new(0) } };
        Some(T::get(self.read, &row))
    }
}

/// Checked access to the rows of a batch that was matched with record `R`.
pub struct Rows<'a, R: Record> {
    read: R::Read<'a>,
    rows: usize,
}

impl<R: Record> std::fmt::Debug for Rows<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<'a, R: Record> Rows<'a, R> {
    /// Over a batch that was matched with the columns of `R`.
    pub fn new(accepted: &'a Accepted) -> Self {
        let short = accepted.arrays().map(|a| a.len()).min().unwrap_or(usize::MAX);
        Rows { read: R::read(&mut accepted.reader()), rows: accepted.rows().min(short) }
    }
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
    /// A row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<View<'a, R>> {
        if row >= self.rows {
            return None;
        }
        // SAFETY: no accepted column is shorter than `rows` (checked in `new`), so the window of one row lies within
        // all of them, and lane 0 within the window. Matching refused nulls in columns that must not be null.
        let (window, lane) = unsafe { (Window::new(row, 1), Lane::new(0)) };
        Some(View::new(R::row::<false>(R::chunk(self.read, window), lane)))
    }
}
