//! Nullable columns.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, make_array};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

use super::boolean::pack;
use super::may_fail::never_fails;
use super::raw::{Raw, compress, unwritten, written, zeroed};
use super::{Bits, Buffers, Env, Keep, LANES, Lane, Mismatch, Spots, Value, Window, Writer};

/// A type that has no nulls of its own, so that `Option` of it is a nullable column.
#[diagnostic::on_unimplemented(
    message = "`Option<{Self}>` cannot be stored in an Arrow column",
    label = "no Arrow mapping for this type",
    note = "columns may be bool, integers, floats, `Str`, `Bytes`, `Decimal`, `Date`, `Time`, `Timestamp`, `Duration`, `List<T>`, `Dict<Str>` or a `#[derive(Record)]` struct, and `Option` of one of these"
)]
pub trait NotNull: Value {}

/// A column type and the one that has nulls too: `Option<T>` for `T` and for `Option<T>`.
pub trait Nullable: Value {
    /// The type with nulls.
    type Option: Value;
}
impl<T: NotNull> Nullable for T {
    type Option = Option<T>;
}
impl<T: NotNull> Nullable for Option<T> {
    type Option = Option<T>;
}

impl<T: NotNull> Value for Option<T> {
    type Ref<'a> = Option<T::Ref<'a>>;
    type Array = T::Array;
    type Read<'a> = (T::Read<'a>, Bits<'a>, bool);
    type Chunk<'a> = (T::Chunk<'a>, u64);
    type Write = OptionWrite<T>;
    never_fails!(Self);
    const NULLABLE: bool = true;
    const FIXED: bool = T::FIXED;
    fn data_type() -> DataType {
        T::data_type()
    }
    fn accept(array: &ArrayRef) -> Result<ArrayRef, Mismatch> {
        if *array.data_type() == DataType::Null {
            return Ok(arrow_array::new_null_array(&T::data_type(), array.len()));
        }
        T::accept(array)
    }
    fn read<'a>(array: Option<&'a ArrayRef>) -> Self::Read<'a> {
        (T::read(array), array.map_or(Bits::ALL, |a| Bits::of(a.as_ref())), array.is_some())
    }
    #[inline(always)]
    fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
        (T::chunk(read.0, at), if read.2 { read.1.word(at) } else { 0 })
    }
    #[inline(always)]
    fn lane<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> Self::Ref<'a> {
        if VALID || chunk.1 >> lane.index() & 1 == 1 { Some(T::lane::<VALID>(chunk.0, lane)) } else { None }
    }
    #[inline(always)]
    fn blank<'a>() -> Self::Ref<'a> {
        None
    }
    fn borrow(&self) -> Self::Ref<'_> {
        self.as_ref().map(T::borrow)
    }
    fn own(value: Self::Ref<'_>) -> Self {
        value.map(T::own)
    }
}

/// Collects a nullable column: the values, and one validity byte per row.
pub struct OptionWrite<T: Value> {
    values: T::Write,
    valid: Raw<u8>,
}
impl<T: NotNull> Writer<Option<T>> for OptionWrite<T> {
    const LANES: bool = T::Write::LANES;
    fn new(rows: usize) -> Self {
        OptionWrite { values: T::Write::new(rows), valid: zeroed(rows) }
    }
    unsafe fn raw(rows: usize) -> Self {
        // SAFETY: passed on to the caller. Without `LANES`, values under nulls stay unwritten, so they begin as blanks.
        let values = if T::Write::LANES { unsafe { T::Write::raw(rows) } } else { T::Write::new(rows) };
        OptionWrite { values, valid: unwritten(rows + LANES) }
    }
    fn blank(&mut self, at: usize, len: usize) {
        if let Some(rows) = self.valid.get_mut(at..at + len) {
            rows.fill(std::mem::MaybeUninit::new(0));
        }
        self.values.blank(at, len);
    }
    #[inline(always)]
    fn direct<'w>(&'w mut self, at: usize, stack: Spots<'w>) -> Spots<'w> {
        self.values.direct(at, stack)
    }
    #[inline(always)]
    fn settle(&mut self, from: Spots<'_>, at: usize, keep: Keep<'_>) {
        compress(from.valid(), &mut self.valid, at, keep);
        self.values.settle(from, at, keep);
    }
    #[inline(always)]
    fn set(spots: Spots<'_>, lane: Lane, value: Option<T::Ref<'_>>) {
        spots.valid().write(lane, u8::from(value.is_some()));
        T::Write::set(spots, lane, value.unwrap_or(T::blank()));
    }
    #[inline(always)]
    fn compress(&mut self, from: Spots<'_>, at: usize, keep: Keep<'_>) {
        compress(from.valid(), &mut self.valid, at, keep);
        self.values.compress(from, at, keep);
    }
    #[inline(always)]
    fn put(&mut self, at: usize, value: Option<T::Ref<'_>>, env: &Env<'_>) {
        debug_assert!(at < self.valid.len());
        // SAFETY: callers write rows below the number given to `new`, which is at most the length of the vector.
        unsafe { self.valid.get_unchecked_mut(at).write(u8::from(value.is_some())) };
        if T::FIXED {
            self.values.put(at, value.unwrap_or(T::blank()), env);
        } else if let Some(value) = value {
            self.values.put(at, value, env);
        }
    }
    #[inline(always)]
    fn shift(&mut self, from: usize, to: usize) {
        debug_assert!(to <= from && from < self.valid.len());
        // SAFETY: as in `put`.
        unsafe { *self.valid.get_unchecked_mut(to) = *self.valid.get_unchecked(from) };
        self.values.shift(from, to);
    }
    fn finish(self, rows: usize, buffers: &Buffers) -> ArrayRef {
        // SAFETY: `new` zeroes all rows; the user of `raw` has written them.
        let valid = pack(&unsafe { written(self.valid, rows) }, rows);
        with_nulls(&self.values.finish(rows, buffers), Some(NullBuffer::new(valid)))
    }
}

/// The array with these nulls instead of its own.
pub(crate) fn with_nulls(array: &ArrayRef, nulls: Option<NullBuffer>) -> ArrayRef {
    let nulls = nulls.filter(|n| n.null_count() > 0);
    if nulls.is_none() && array.nulls().is_none() {
        return Arc::clone(array);
    }
    let data = array.to_data().into_builder().nulls(nulls);
    // SAFETY: only the validity changes, and it has the array's length: data, offsets, views and codes stay valid.
    make_array(unsafe { data.build_unchecked() })
}
