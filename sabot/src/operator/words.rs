//! Values of fixed width as words whose order is that of the values.
//!
//! For types of at most eight bytes, where equal words are equal values: integers, floats (IEEE total order), booleans, dates,
//! timestamps. Nulls are not in the words: whoever reads them asks for nulls first.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow_schema::{DataType, TimeUnit};

const SIGN: u64 = 1 << 63;

/// Something done to a column once its type is known.
trait Visit {
    type Out;
    fn column<T: ArrowPrimitiveType>(self, array: &PrimitiveArray<T>, word: impl Fn(T::Native) -> u64 + Send + 'static) -> Self::Out;
    fn booleans(self, array: &arrow_array::BooleanArray) -> Self::Out;
}

/// `None` if values of this type are no words.
fn visit<V: Visit>(array: &dyn Array, v: V) -> Option<V::Out> {
    macro_rules! on {
        ($t:ty, $word:expr) => {
            v.column(array.as_primitive::<$t>(), $word)
        };
    }
    fn signed(v: i64) -> u64 {
        v as u64 ^ SIGN
    }
    // IEEE total order, as the row format has it
    fn float(bits: u64) -> u64 {
        if bits & SIGN == 0 { bits ^ SIGN } else { !bits }
    }
    Some(match array.data_type() {
        DataType::Int8 => on!(Int8Type, |v| signed(v.into())),
        DataType::Int16 => on!(Int16Type, |v| signed(v.into())),
        DataType::Int32 => on!(Int32Type, |v| signed(v.into())),
        DataType::Int64 => on!(Int64Type, signed),
        DataType::UInt8 => on!(UInt8Type, u64::from),
        DataType::UInt16 => on!(UInt16Type, u64::from),
        DataType::UInt32 => on!(UInt32Type, u64::from),
        DataType::UInt64 => on!(UInt64Type, |v| v),
        DataType::Float32 => on!(Float32Type, |v| float(u64::from(v.to_bits()) << 32)),
        DataType::Float64 => on!(Float64Type, |v| float(v.to_bits())),
        DataType::Date32 => on!(Date32Type, |v| signed(v.into())),
        DataType::Date64 => on!(Date64Type, signed),
        DataType::Timestamp(TimeUnit::Second, _) => on!(TimestampSecondType, signed),
        DataType::Timestamp(TimeUnit::Millisecond, _) => on!(TimestampMillisecondType, signed),
        DataType::Timestamp(TimeUnit::Microsecond, _) => on!(TimestampMicrosecondType, signed),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => on!(TimestampNanosecondType, signed),
        DataType::Duration(TimeUnit::Microsecond) => on!(DurationMicrosecondType, signed),
        DataType::Boolean => v.booleans(array.as_boolean()),
        _ => return None,
    })
}

/// Whether values of this type are words.
pub(super) fn are_words(t: &DataType) -> bool {
    struct Known;
    impl Visit for Known {
        type Out = ();
        fn column<T: ArrowPrimitiveType>(self, _: &PrimitiveArray<T>, _: impl Fn(T::Native) -> u64 + Send + 'static) {}
        fn booleans(self, _: &arrow_array::BooleanArray) {}
    }
    visit(arrow_array::new_empty_array(t).as_ref(), Known).is_some()
}

/// Appends `f` of the word of each row, the word of a null being that of some value. Returns `false`, and does nothing, if the
/// values are no words.
pub(super) fn each_word(array: &dyn Array, descending: bool, out: &mut Vec<u64>, f: impl Fn(u64) -> u64) -> bool {
    struct Each<'a, F>(&'a mut Vec<u64>, u64, F);
    impl<F: Fn(u64) -> u64> Visit for Each<'_, F> {
        type Out = ();
        fn column<T: ArrowPrimitiveType>(self, array: &PrimitiveArray<T>, word: impl Fn(T::Native) -> u64 + Send + 'static) {
            let Each(out, flip, f) = self;
            out.extend(array.values().iter().map(|v| f(word(*v) ^ flip)));
        }
        fn booleans(self, array: &arrow_array::BooleanArray) {
            let Each(out, flip, f) = self;
            out.extend(array.values().iter().map(|v| f(boolean(v) ^ flip)));
        }
    }
    visit(array, Each(out, flip(descending), f)).is_some()
}

/// The word of a row, by its number.
pub(super) type WordOf = Box<dyn Fn(usize) -> u64 + Send>;

/// Access to the words of single rows; `None` if the values are no words.
pub(super) fn word_of(array: &dyn Array, descending: bool) -> Option<WordOf> {
    struct One(u64);
    impl Visit for One {
        type Out = WordOf;
        fn column<T: ArrowPrimitiveType>(self, array: &PrimitiveArray<T>, word: impl Fn(T::Native) -> u64 + Send + 'static) -> WordOf {
            let values = array.values().clone();
            Box::new(move |row| values.get(row).map_or(0, |v| word(*v) ^ self.0))
        }
        fn booleans(self, array: &arrow_array::BooleanArray) -> WordOf {
            let values = array.values().clone();
            Box::new(move |row| boolean(row < values.len() && values.value(row)) ^ self.0)
        }
    }
    visit(array, One(flip(descending)))
}

/// Away from both ends of the words, where some readers put nulls.
fn boolean(v: bool) -> u64 {
    4 + u64::from(v)
}

fn flip(descending: bool) -> u64 {
    if descending { !0 } else { 0 }
}
