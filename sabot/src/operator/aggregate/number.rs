//! What can be added up.

use std::sync::Arc;

use arrow_array::types::ArrowPrimitiveType;
use arrow_schema::DataType;

use super::AccumulatorFactory;
use super::accumulator::short;
use super::moments::{Measure, moments};
use super::net_sum::net_sum;

use crate::record::{Decimal, Duration, Fixed, Micros, Millis, Nanos, Seconds, Value};

type NativeOf<T> = <<T as Fixed>::Arrow as ArrowPrimitiveType>::Native;

/// A column type that `sum` adds up: numbers, decimals, durations, and `Option` of these.
pub trait Summand: Value {
    /// The plain value.
    type Base: Fixed + Value;
    /// What the sum is kept in: `i64`, `u64` or `f64`, a decimal of 38 digits, a duration.
    type Total: Fixed + Value;
    /// The type of the result: the total, or `Option` of it.
    type Sum: Value;
    /// Adds a value; `None` if the total overflows.
    fn add(total: NativeOf<Self::Total>, value: NativeOf<Self::Base>) -> Option<NativeOf<Self::Total>>;
    /// Adds a partial total; `None` if the total overflows.
    fn merge(total: NativeOf<Self::Total>, other: NativeOf<Self::Total>) -> Option<NativeOf<Self::Total>>;
    /// The sum where rows are taken back.
    #[doc(hidden)]
    fn over_changes() -> Arc<dyn AccumulatorFactory>;
}

/// A [`Summand`] whose sum is exact: integers, decimals and durations.
pub trait Whole: Summand {
    /// The value in 128 bits.
    fn wide(value: NativeOf<Self::Base>) -> i128;
    /// A total out of 128 bits; `None` if it overflows.
    fn narrow(total: i128) -> Option<NativeOf<Self::Total>>;
}

/// A column type that `mean` averages: numbers, decimals, and `Option` of these.
#[diagnostic::on_unimplemented(
    message = "`mean` cannot average values of type `{Self}`",
    label = "not a number",
    note = "`mean` takes integers, floats and decimals, and `Option` of these"
)]
pub trait Mean: Value {
    /// The plain value.
    type Base: Fixed + Value;
    /// The type of the result: `f64`, or `Option<f64>`.
    type Mean: Value;
    /// The value as a float.
    fn float(value: NativeOf<Self::Base>) -> f64;
}

/// Sums of floats over changes.
fn floats<V: Summand + Mean>() -> Arc<dyn AccumulatorFactory> {
    moments::<V>(Measure::Sum, format!("sum({})", short::<V>()), (DataType::Float64, V::NULLABLE))
}
macro_rules! summand {
    ([$($gen:tt)*] $t:ty => $total:ty, $add:expr, $merge:expr, $narrow:expr) => {
        summand!(@one [$($gen)*] $t, $t => $total, $total, $add, $merge, net_sum::<Self>());
        summand!(@one [$($gen)*] Option<$t>, $t => $total, Option<$total>, $add, $merge, net_sum::<Self>());
        summand!(@whole [$($gen)*] $t, $t => $total, $narrow);
        summand!(@whole [$($gen)*] Option<$t>, $t => $total, $narrow);
    };
    ([$($gen:tt)*] $t:ty => $total:ty, $add:expr, $merge:expr) => {
        summand!(@one [$($gen)*] $t, $t => $total, $total, $add, $merge, floats::<Self>());
        summand!(@one [$($gen)*] Option<$t>, $t => $total, Option<$total>, $add, $merge, floats::<Self>());
    };
    (@whole [$($gen:tt)*] $t:ty, $base:ty => $total:ty, $narrow:expr) => {
        impl<$($gen)*> Whole for $t {
            #[inline(always)]
            fn wide(value: NativeOf<$base>) -> i128 { i128::from(value) }
            fn narrow(total: i128) -> Option<NativeOf<$total>> { ($narrow)(total) }
        }
    };
    (@one [$($gen:tt)*] $t:ty, $base:ty => $total:ty, $sum:ty, $add:expr, $merge:expr, $changes:expr) => {
        impl<$($gen)*> Summand for $t {
            type Base = $base;
            type Total = $total;
            type Sum = $sum;
            #[inline(always)]
            fn add(total: NativeOf<$total>, value: NativeOf<$base>) -> Option<NativeOf<$total>> {
                ($add)(total, value)
            }
            #[inline(always)]
            fn merge(total: NativeOf<$total>, other: NativeOf<$total>) -> Option<NativeOf<$total>> {
                ($merge)(total, other)
            }
            fn over_changes() -> Arc<dyn AccumulatorFactory> { $changes }
        }
    };
}
macro_rules! integers {
    ($($t:ty => $total:ty),*) => {$(
        summand!([] $t => $total, |t: $total, v: $t| t.checked_add(<$total>::from(v)), |t: $total, o: $total| t.checked_add(o), |t: i128| <$total>::try_from(t).ok());
    )*};
}
integers!(i8 => i64, i16 => i64, i32 => i64, i64 => i64, u8 => u64, u16 => u64, u32 => u64, u64 => u64);
summand!([] f64 => f64, |t: f64, v: f64| Some(t + v), |t: f64, o: f64| Some(t + o));
summand!([] f32 => f64, |t: f64, v: f32| Some(t + f64::from(v)), |t: f64, o: f64| Some(t + o));
summand!([] half::f16 => f64, |t: f64, v: half::f16| Some(t + v.to_f64()), |t: f64, o: f64| Some(t + o));
macro_rules! durations {
    ($($unit:ty),*) => {$(
        summand!([] Duration<$unit> => Duration<$unit>, |t: i64, v: i64| t.checked_add(v), |t: i64, o: i64| t.checked_add(o), |t: i128| i64::try_from(t).ok());
    )*};
}
durations!(Seconds, Millis, Micros, Nanos);
const DIGITS_38: u128 = 10u128.pow(38);
fn add_decimal(total: i128, value: i128) -> Option<i128> {
    total.checked_add(value).filter(|t| t.unsigned_abs() < DIGITS_38)
}
summand!([const P: u8, const S: i8] Decimal<P, S> => Decimal<38, S>, add_decimal, add_decimal, |t: i128| Some(t).filter(|t| t.unsigned_abs() < DIGITS_38));

macro_rules! means {
    ($([$($gen:tt)*] $t:ty, $float:expr;)*) => {$(
        impl<$($gen)*> Mean for $t {
            type Base = $t;
            type Mean = f64;
            #[inline(always)]
            fn float(value: NativeOf<$t>) -> f64 { ($float)(value) }
        }
        impl<$($gen)*> Mean for Option<$t> {
            type Base = $t;
            type Mean = Option<f64>;
            #[inline(always)]
            fn float(value: NativeOf<$t>) -> f64 { ($float)(value) }
        }
    )*};
}
means!(
    [] i8, f64::from; [] i16, f64::from; [] i32, f64::from; [] i64, |v: i64| v as f64;
    [] u8, f64::from; [] u16, f64::from; [] u32, f64::from; [] u64, |v: u64| v as f64;
    [] half::f16, half::f16::to_f64; [] f32, f64::from; [] f64, |v: f64| v;
    [const P: u8, const S: i8] Decimal<P, S>, |v: i128| Decimal::<P, S>::from_units(v).to_f64();
);
