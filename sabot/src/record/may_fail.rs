//! Columns whose values come from functions that return a `Result`.
//!
//! [`MayFail`] is a column type only inside of a run: closures see the plain value, Arrow the plain column. It is what
//! tells the compiler that a run may fail, so that the run must say what becomes of its errors (`on_error`,
//! `dead_letter`) before a boundary; behind that the column is [`Value::Good`], or [`Value::Nulled`] where errors become
//! nulls. Nothing of it exists at run time.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::DataType;

use super::{Buffers, Env, Keep, Lane, Mismatch, Spots, Value, Window, Writer};

/// A value that may have failed: the column type of an expression that is a `Result`, until the run says what becomes of
/// errors.
#[derive(Clone, Debug)]
pub struct MayFail<V>(V);

impl<V> MayFail<V> {
    /// The value.
    pub fn into_inner(self) -> V {
        self.0
    }
}

/// Whether something may fail, as a type.
pub trait Fallible: 'static {
    /// As a value.
    const MAY: bool;
    /// Whether this or the other may.
    type Or<Other: Fallible>: Fallible;
}
/// It cannot fail.
#[derive(Debug)]
pub enum Never {}
/// It may fail.
#[derive(Debug)]
pub enum Sometimes {}
impl Fallible for Never {
    const MAY: bool = false;
    type Or<Other: Fallible> = Other;
}
impl Fallible for Sometimes {
    const MAY: bool = true;
    type Or<Other: Fallible> = Sometimes;
}

/// The column types behind `on_error` of a value that cannot fail.
macro_rules! never_fails {
    ($nullable:ty) => {
        type Fails = $crate::record::Never;
        type Good = Self;
        type Nulled = Self;
        type OrNull = $nullable;
    };
}
pub(crate) use never_fails;

impl<V: Value> Value for MayFail<V> {
    type Ref<'a> = V::Ref<'a>;
    type Array = V::Array;
    type Read<'a> = V::Read<'a>;
    type Chunk<'a> = V::Chunk<'a>;
    type Write = MayFailWrite<V>;
    type Fails = Sometimes;
    type Good = V::Good;
    type Nulled = V::OrNull;
    type OrNull = V::OrNull;
    const NULLABLE: bool = V::NULLABLE;
    const FIXED: bool = V::FIXED;
    fn data_type() -> DataType {
        V::data_type()
    }
    fn accept(array: &ArrayRef) -> Result<ArrayRef, Mismatch> {
        V::accept(array)
    }
    fn read<'a>(array: Option<&'a ArrayRef>) -> Self::Read<'a> {
        V::read(array)
    }
    #[inline(always)]
    fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
        V::chunk(read, at)
    }
    #[inline(always)]
    fn lane<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> Self::Ref<'a> {
        V::lane::<VALID>(chunk, lane)
    }
    #[inline(always)]
    fn blank<'a>() -> Self::Ref<'a> {
        V::blank()
    }
    fn borrow(&self) -> Self::Ref<'_> {
        self.0.borrow()
    }
    fn own(value: Self::Ref<'_>) -> Self {
        MayFail(V::own(value))
    }
}

/// Collects the plain values.
pub struct MayFailWrite<V: Value>(V::Write);
impl<V: Value> Writer<MayFail<V>> for MayFailWrite<V> {
    const LANES: bool = V::Write::LANES;
    fn new(rows: usize) -> Self {
        MayFailWrite(V::Write::new(rows))
    }
    unsafe fn raw(rows: usize) -> Self {
        // SAFETY: passed on to the caller.
        MayFailWrite(unsafe { V::Write::raw(rows) })
    }
    #[inline(always)]
    fn blank(&mut self, at: usize, len: usize) {
        self.0.blank(at, len);
    }
    #[inline(always)]
    fn direct<'w>(&'w mut self, at: usize, stack: Spots<'w>) -> Spots<'w> {
        self.0.direct(at, stack)
    }
    #[inline(always)]
    fn settle(&mut self, from: Spots<'_>, at: usize, keep: Keep<'_>) {
        self.0.settle(from, at, keep);
    }
    #[inline(always)]
    fn set(spots: Spots<'_>, lane: Lane, value: V::Ref<'_>) {
        V::Write::set(spots, lane, value);
    }
    #[inline(always)]
    fn compress(&mut self, from: Spots<'_>, at: usize, keep: Keep<'_>) {
        self.0.compress(from, at, keep);
    }
    #[inline(always)]
    fn put(&mut self, at: usize, value: V::Ref<'_>, env: &Env<'_>) {
        self.0.put(at, value, env);
    }
    #[inline(always)]
    fn shift(&mut self, from: usize, to: usize) {
        self.0.shift(from, to);
    }
    fn finish(self, rows: usize, buffers: &Buffers) -> ArrayRef {
        self.0.finish(rows, buffers)
    }
}

/// The array with nulls at these rows (and where it has some already).
pub(crate) fn null_at(array: &ArrayRef, rows: impl Iterator<Item = usize>) -> ArrayRef {
    use arrow_array::Array;
    let mut valid = arrow_buffer::BooleanBufferBuilder::new(array.len());
    valid.append_n(array.len(), true);
    rows.filter(|row| *row < array.len()).for_each(|row| valid.set_bit(row, false));
    let nulls = arrow_buffer::NullBuffer::new(valid.finish());
    match arrow_buffer::NullBuffer::union(array.nulls(), Some(&nulls)) {
        Some(nulls) => super::with_nulls(array, Some(nulls)),
        None => Arc::clone(array),
    }
}
