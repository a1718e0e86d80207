//! Fixed-width columns: numbers, and the newtypes over them (dates, times, timestamps, durations, decimals).

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, cast::AsArray, types::*};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{DataType, TimeUnit};

use super::raw::{Raw, compress, unwritten, written, zeroed};
use super::time::{Micros, Millis, Nanos, Seconds, TimeOf, Unit, Zone};
use super::{Buffers, Date, Decimal, Duration, Env, Keep, LANES, Lane, Mismatch, Spots, Time, Timestamp, Value, Window, Writer};

/// A value that is one machine word in an Arrow buffer.
pub trait Fixed: Copy + Default + Send + Sync + 'static {
    /// The Arrow type of the buffer.
    type Arrow: ArrowPrimitiveType;
    /// From the word in the buffer.
    fn wrap(native: <Self::Arrow as ArrowPrimitiveType>::Native) -> Self;
    /// To the word in the buffer.
    fn native(self) -> <Self::Arrow as ArrowPrimitiveType>::Native;
    /// The Arrow type that is written.
    fn arrow_type() -> DataType;
    /// Other types that have the same words and the same meaning.
    fn same_words(_other: &DataType) -> bool {
        false
    }
}

type NativeOf<T> = <<T as Fixed>::Arrow as ArrowPrimitiveType>::Native;

/// Typed access to a fixed-width column, or to blanks.
pub struct FixedRead<'a, T: Fixed> {
    values: &'a [NativeOf<T>],
    present: bool,
}
impl<T: Fixed> Clone for FixedRead<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Fixed> Copy for FixedRead<'_, T> {}

/// The values of one window.
pub struct FixedChunk<'a, T: Fixed> {
    start: *const NativeOf<T>,
    len: usize,
    rows: PhantomData<&'a [NativeOf<T>]>,
}
impl<T: Fixed> Clone for FixedChunk<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Fixed> Copy for FixedChunk<'_, T> {}

/// 64 words of 16 zero bytes: what a pruned column reads as.
#[repr(align(64))]
struct Zeros([u8; LANES * 32]);
static ZEROS: Zeros = Zeros([0; LANES * 32]);

pub(super) fn fixed_accept<T: Fixed>(array: &ArrayRef) -> Result<ArrayRef, Mismatch> {
    let want = T::arrow_type();
    let have = array.data_type();
    if *have == want {
        return Ok(Arc::clone(array));
    }
    if T::same_words(have) && array.as_primitive_opt::<T::Arrow>().is_some() {
        return Ok(Arc::clone(array));
    }
    if let DataType::Dictionary(_, values) = have
        && (**values == want || T::same_words(values))
    {
        return arrow_cast::cast(array, values).map_err(|_| Mismatch::of(&want, array.as_ref()));
    }
    Err(Mismatch::of(&want, array.as_ref()))
}

/// Collects a fixed-width column.
#[derive(Debug)]
pub struct FixedWrite<T: Fixed>(Raw<NativeOf<T>>);

macro_rules! fixed_value {
    ([$($gen:tt)*] $t:ty) => {
        impl<$($gen)*> Value for $t {
            type Ref<'a> = $t;
            type Array = PrimitiveArray<<$t as Fixed>::Arrow>;
            type Read<'a> = FixedRead<'a, $t>;
            type Chunk<'a> = FixedChunk<'a, $t>;
            type Write = FixedWrite<$t>;
            $crate::record::may_fail::never_fails!(Option<Self>);
            fn data_type() -> DataType {
                <$t as Fixed>::arrow_type()
            }
            fn accept(array: &ArrayRef) -> Result<ArrayRef, Mismatch> {
                fixed_accept::<$t>(array)
            }
            fn read<'a>(array: Option<&'a ArrayRef>) -> Self::Read<'a> {
                match array.and_then(|a| a.as_primitive_opt::<<$t as Fixed>::Arrow>()) {
                    Some(a) => FixedRead { values: a.values(), present: true },
                    None => FixedRead { values: &[], present: false },
                }
            }
            #[inline(always)]
            fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
                let (start, len) = if read.present {
                    debug_assert!(at.base() + at.len() <= read.values.len());
                    // SAFETY: a window lies within every column that is read through it.
                    (unsafe { read.values.as_ptr().add(at.base()) }, at.len())
                } else {
                    (ZEROS.0.as_ptr().cast(), LANES)
                };
                FixedChunk { start, len, rows: PhantomData }
            }
            #[inline(always)]
            fn lane<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> Self::Ref<'a> {
                debug_assert!(lane.index() < chunk.len);
                // SAFETY: a lane is less than the length of its window, and `start` points to that many values (or to
                // 64 aligned zeros of at least that size: no fixed value is wider than 32 bytes).
                <$t as Fixed>::wrap(unsafe { *chunk.start.add(lane.index()) })
            }
            #[inline(always)]
            fn blank<'a>() -> Self::Ref<'a> {
                <$t>::default()
            }
            fn borrow(&self) -> Self::Ref<'_> {
                *self
            }
            fn own(value: Self::Ref<'_>) -> Self {
                value
            }
        }
        impl<$($gen)*> Writer<$t> for FixedWrite<$t> {
            const LANES: bool = true;
            fn new(rows: usize) -> Self {
                FixedWrite(zeroed(rows))
            }
            unsafe fn raw(rows: usize) -> Self {
                FixedWrite(unwritten(rows + LANES))
            }
            fn blank(&mut self, at: usize, len: usize) {
                if let Some(rows) = self.0.get_mut(at..at + len) {
                    rows.fill(std::mem::MaybeUninit::new(Default::default()));
                }
            }
            #[inline(always)]
            fn direct<'w>(&'w mut self, at: usize, stack: Spots<'w>) -> Spots<'w> {
                stack.direct(&mut self.0, at)
            }
            #[inline(always)]
            fn set(spots: Spots<'_>, lane: Lane, value: $t) {
                spots.write(lane, Fixed::native(value));
            }
            #[inline(always)]
            fn compress(&mut self, from: Spots<'_>, at: usize, keep: Keep<'_>) {
                compress(from, &mut self.0, at, keep);
            }
            #[inline(always)]
            fn put(&mut self, at: usize, value: $t, _env: &Env<'_>) {
                debug_assert!(at < self.0.len());
                // SAFETY: callers write rows below the number given to `new`, which is at most the vector's length.
                unsafe { self.0.get_unchecked_mut(at).write(Fixed::native(value)) };
            }
            #[inline(always)]
            fn shift(&mut self, from: usize, to: usize) {
                debug_assert!(to <= from && from < self.0.len());
                // SAFETY: as in `put`.
                unsafe { *self.0.get_unchecked_mut(to) = *self.0.get_unchecked(from) }
            }
            fn finish(self, rows: usize, _buffers: &Buffers) -> ArrayRef {
                // SAFETY: `new` zeroes all rows; the user of `raw` has written them.
                let values = unsafe { written(self.0, rows) };
                let array = PrimitiveArray::<<$t as Fixed>::Arrow>::new(ScalarBuffer::from(values), None);
                Arc::new(array.with_data_type(<$t as Fixed>::arrow_type()))
            }
        }
    };
}

macro_rules! number {
    ($($t:ty = $arrow:ty),* $(,)?) => {$(
        impl Fixed for $t {
            type Arrow = $arrow;
            #[inline(always)]
            fn wrap(native: $t) -> Self { native }
            #[inline(always)]
            fn native(self) -> $t { self }
            fn arrow_type() -> DataType { <$arrow as ArrowPrimitiveType>::DATA_TYPE }
        }
        fixed_value!([] $t);
    )*};
}
number!(
    i8 = Int8Type,
    i16 = Int16Type,
    i32 = Int32Type,
    i64 = Int64Type,
    u8 = UInt8Type,
    u16 = UInt16Type,
    u32 = UInt32Type,
    u64 = UInt64Type,
    half::f16 = Float16Type,
    f32 = Float32Type,
    f64 = Float64Type,
);

impl Fixed for Date {
    type Arrow = Date32Type;
    #[inline(always)]
    fn wrap(native: i32) -> Self {
        Date(native)
    }
    #[inline(always)]
    fn native(self) -> i32 {
        self.0
    }
    fn arrow_type() -> DataType {
        DataType::Date32
    }
}
fixed_value!([] Date);

impl<const P: u8, const S: i8> Fixed for Decimal<P, S> {
    type Arrow = Decimal128Type;
    #[inline(always)]
    fn wrap(native: i128) -> Self {
        Decimal::from_units(native)
    }
    #[inline(always)]
    fn native(self) -> i128 {
        self.units()
    }
    fn arrow_type() -> DataType {
        DataType::Decimal128(P, S)
    }
}
fixed_value!([const P: u8, const S: i8] Decimal<P, S>);

macro_rules! timed {
    ($($unit:ty: $stamp:ty, $dur:ty, $time:ty, $word:ty);* $(;)?) => {$(
        impl<Z: Zone> Fixed for Timestamp<$unit, Z> {
            type Arrow = $stamp;
            #[inline(always)]
            fn wrap(native: i64) -> Self { Timestamp::new(native) }
            #[inline(always)]
            fn native(self) -> i64 { self.value() }
            fn arrow_type() -> DataType { DataType::Timestamp(<$unit as Unit>::ARROW, Z::NAME.map(Into::into)) }
            // an instant is an instant: the zone only matters for display
            fn same_words(other: &DataType) -> bool {
                matches!(other, DataType::Timestamp(u, z) if *u == <$unit as Unit>::ARROW && Z::reads(z.as_deref()))
            }
        }
        fixed_value!([Z: Zone] Timestamp<$unit, Z>);
        impl Fixed for Duration<$unit> {
            type Arrow = $dur;
            #[inline(always)]
            fn wrap(native: i64) -> Self { Duration::new(native) }
            #[inline(always)]
            fn native(self) -> i64 { self.value() }
            fn arrow_type() -> DataType { DataType::Duration(<$unit as Unit>::ARROW) }
        }
        fixed_value!([] Duration<$unit>);
        impl Fixed for Time<$unit> {
            type Arrow = $time;
            #[inline(always)]
            fn wrap(native: $word) -> Self { Time::new(TimeOf::from(native)) }
            #[inline(always)]
            fn native(self) -> $word { self.value() as $word }
            fn arrow_type() -> DataType { <$time as ArrowPrimitiveType>::DATA_TYPE }
        }
        fixed_value!([] Time<$unit>);
    )*};
}
timed!(
    Seconds: TimestampSecondType, DurationSecondType, Time32SecondType, i32;
    Millis: TimestampMillisecondType, DurationMillisecondType, Time32MillisecondType, i32;
    Micros: TimestampMicrosecondType, DurationMicrosecondType, Time64MicrosecondType, i64;
    Nanos: TimestampNanosecondType, DurationNanosecondType, Time64NanosecondType, i64;
);

const _: TimeUnit = TimeUnit::Second;
