//! The column type that the array of a batch operator becomes.

use arrow_array::{BooleanArray, PrimitiveArray, StringArray, StringViewArray};

use crate::record::{Fixed, Str, Value};

/// An array that becomes a column: nullable, because an array may hold nulls.
#[diagnostic::on_unimplemented(
    message = "a batch operator cannot return `{Self}`",
    label = "not a column",
    note = "return a primitive, boolean or string array, or a `Result` of one"
)]
pub trait BecomesColumn {
    /// The column's type.
    type V: Value;
}
macro_rules! numbers {
    ($($t:ty),*) => {$( impl BecomesColumn for PrimitiveArray<<$t as Fixed>::Arrow> { type V = Option<$t>; } )*};
}
numbers!(i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);
impl BecomesColumn for BooleanArray {
    type V = Option<bool>;
}
impl BecomesColumn for StringArray {
    type V = Option<Str>;
}
impl BecomesColumn for StringViewArray {
    type V = Option<Str>;
}
