//! A column type: how its values are read from Arrow, seen by user code, and written back.

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::{Buffers, Column, Env, Fallible, Keep, Lane, Spots, Window};

/// Why a column cannot be read as a [`Value`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What the record wants, in Arrow's words.
    pub expected: String,
    /// What the column is.
    pub found: String,
}

impl Mismatch {
    /// Expected type against the array's type.
    pub fn of(expected: &DataType, found: &dyn Array) -> Self {
        Mismatch { expected: expected.to_string(), found: found.data_type().to_string() }
    }
}

/// A type that a column can have: the field type of a `#[derive(Record)]` struct.
///
/// The type itself is the owned value; [`Ref`](Self::Ref) is what operators and closures see, borrowed from the column.
/// Implemented by this crate and by `#[derive(Record)]` (a nested record); not meant to be implemented by hand.
///
/// Example: [`record`](crate::record).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored in an Arrow column",
    label = "no Arrow mapping for this type",
    note = "columns may be bool, integers, floats, `Str`, `Bytes`, `Decimal`, `Date`, `Time`, `Timestamp`, `Duration`, `List<T>`, `Dict<Str>` or a `#[derive(Record)]` struct; wrap in `Option<_>` for a nullable column"
)]
pub trait Value: Sized + Send + Sync + 'static {
    /// The borrowed form: `f64`, `&str`, `Option<i64>`, a nested row.
    type Ref<'a>: Copy + Debug;
    /// The Arrow array of a column that is written, or read with exactly [`data_type`](Self::data_type).
    type Array: Array + 'static;
    /// Typed access to a column.
    type Read<'a>: Copy;
    /// Typed access to the rows of one [`Window`].
    type Chunk<'a>: Copy;
    /// Collects values into a column.
    type Write: Writer<Self>;
    /// Whether values come from functions that may fail: [`Never`](super::Never) but for [`MayFail`](super::MayFail).
    type Fails: Fallible;
    /// The column once errors end the job, or drop their rows: the same, but for [`MayFail`](super::MayFail).
    type Good: Value;
    /// The column once errors are nulls: the same, but for [`MayFail`](super::MayFail).
    type Nulled: Value;
    /// The nullable column of the same values.
    type OrNull: Value;

    /// Whether nulls are values of this type.
    const NULLABLE: bool = false;
    /// Whether a value is plain fixed-width memory: the slot of a null or dropped row can be read without harm, and
    /// slots can be written in any order.
    const FIXED: bool = true;

    /// The Arrow type that is written, and preferred when read.
    fn data_type() -> DataType;

    /// The column for a field of this type: its name in Rust, and its name in files.
    fn column(ident: &'static str, name: &'static str) -> Column {
        Column::of::<Self>(ident, name)
    }
    /// Brings a column into an encoding that [`read`](Self::read) knows. Cheap (a reference count) for the usual ones.
    ///
    /// # Errors
    /// If the column has another type.
    fn accept(array: &ArrayRef) -> Result<ArrayRef, Mismatch> {
        if *array.data_type() == Self::data_type() { Ok(Arc::clone(array)) } else { Err(Mismatch::of(&Self::data_type(), array.as_ref())) }
    }
    /// Typed access to an accepted column; `None` reads as blanks (a column that was pruned because nobody looks at it).
    fn read<'a>(array: Option<&'a ArrayRef>) -> Self::Read<'a>;
    /// The rows of a window.
    fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a>;
    /// One row. With `VALID`, the row is known to be valid and null bits are not tested.
    fn lane<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> Self::Ref<'a>;
    /// A value for a row that was not computed: zero, empty, null.
    fn blank<'a>() -> Self::Ref<'a>;
    /// Borrows an owned value.
    fn borrow(&self) -> Self::Ref<'_>;
    /// Copies a borrowed value.
    fn own(value: Self::Ref<'_>) -> Self;
}

/// Collects the values of one column by row number.
pub trait Writer<V: Value>: Sized + Send {
    /// Whether 64 rows may be written at once, through [`Spots`].
    const LANES: bool = false;
    /// A writer with room for `rows` rows; rows that are never written are blank.
    fn new(rows: usize) -> Self;
    /// A writer with room for `rows` rows, and for a kernel that writes 64 rows from any of them.
    ///
    /// # Safety
    /// Before [`finish`](Self::finish), every row that it delivers was written or made [`blank`](Self::blank).
    unsafe fn raw(rows: usize) -> Self {
        Self::new(rows)
    }
    /// Makes `len` rows from `at` on blank, if they are unwritten.
    fn blank(&mut self, _at: usize, _len: usize) {}
    /// Like `stack`, but values go straight to the 64 rows from `at` on; to be [`settled`](Self::settle).
    #[inline(always)]
    fn direct<'w>(&'w mut self, _at: usize, stack: Spots<'w>) -> Spots<'w> {
        stack
    }
    /// Copies what did not go straight to its rows.
    #[inline(always)]
    fn settle(&mut self, _from: Spots<'_>, _at: usize, _keep: Keep<'_>) {}
    /// Writes a lane. Only for [`LANES`](Self::LANES).
    #[inline(always)]
    fn set(_spots: Spots<'_>, _lane: Lane, _value: V::Ref<'_>) {}
    /// Appends kept lanes to row `at`. Only for [`LANES`](Self::LANES).
    #[inline(always)]
    fn compress(&mut self, _from: Spots<'_>, _at: usize, _keep: Keep<'_>) {}
    /// Writes the value of row `at`, which is less than the `rows` given to [`new`](Self::new). Rows are written in
    /// ascending order unless `V::FIXED`.
    fn put(&mut self, at: usize, value: V::Ref<'_>, env: &Env<'_>);
    /// Moves row `from` to row `to <= from`. Only for `V::FIXED`.
    fn shift(&mut self, from: usize, to: usize);
    /// The column of the first `rows` rows.
    fn finish(self, rows: usize, buffers: &Buffers) -> ArrayRef;
}
