//! Quantiles.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field};

use super::accumulator::{input, primitive, short};
use super::lists::{Lists, items_of, list_column, list_type};
use super::{Accumulator, AccumulatorFactory, Mean};
use crate::operator::kept::for_rows;
use crate::operator::{Failure, Kept};
use crate::record::{Decimal, Duration, Fixed, Micros, Millis, Nanos, Seconds, Timestamp, Value, Zone};
use crate::{Error, Result};

type NativeOf<T> = <<T as Fixed>::Arrow as ArrowPrimitiveType>::Native;

/// A column type with values between its values: numbers, whose quantiles are floats, timestamps and durations, and
/// `Option` of these.
#[diagnostic::on_unimplemented(
    message = "`quantile` and `median` cannot take values of type `{Self}`",
    label = "nothing lies between two of these",
    note = "they take integers, floats, decimals, timestamps and durations, and `Option` of these; `min` and `max` take text too"
)]
pub trait Ranked: Value {
    /// The plain value.
    type Base: Fixed + Value;
    /// The plain type of the result.
    type Out: Fixed + Value;
    /// The type of the result.
    type Quantile: Value;
    /// The value as the result has it.
    fn point(value: NativeOf<Self::Base>) -> NativeOf<Self::Out>;
    /// The order of two values; floats in IEEE total order.
    fn order(a: &NativeOf<Self::Out>, b: &NativeOf<Self::Out>) -> Ordering;
    /// The value at this fraction of the way from one value to another.
    fn between(low: NativeOf<Self::Out>, high: NativeOf<Self::Out>, fraction: f64) -> NativeOf<Self::Out>;
}

macro_rules! ranked {
    ($([$($gen:tt)*] $t:ty => $out:ty, $point:expr, $order:expr, $between:expr;)*) => {$(
        ranked!(@one [$($gen)*] $t, $t => $out, $point, $order, $between);
        ranked!(@one [$($gen)*] Option<$t>, $t => $out, $point, $order, $between);
    )*};
    (@one [$($gen:tt)*] $t:ty, $base:ty => $out:ty, $point:expr, $order:expr, $between:expr) => {
        impl<$($gen)*> Ranked for $t {
            type Base = $base;
            type Out = $out;
            type Quantile = Option<$out>;
            #[inline(always)]
            fn point(value: NativeOf<$base>) -> NativeOf<$out> { ($point)(value) }
            #[inline(always)]
            fn order(a: &NativeOf<$out>, b: &NativeOf<$out>) -> Ordering { ($order)(a, b) }
            fn between(low: NativeOf<$out>, high: NativeOf<$out>, fraction: f64) -> NativeOf<$out> { ($between)(low, high, fraction) }
        }
    };
}
macro_rules! numbers {
    ($([$($gen:tt)*] $t:ty),* $(,)?) => {
        ranked!($([$($gen)*] $t => f64, <$t as Mean>::float, f64::total_cmp, between_floats;)*);
    };
}
macro_rules! instants {
    ($([$($gen:tt)*] $t:ty),* $(,)?) => { ranked!($([$($gen)*] $t => $t, std::convert::identity, i64::cmp, between_integers;)*); };
}
fn between_floats(low: f64, high: f64, fraction: f64) -> f64 {
    // equal infinities have no difference
    if low == high { low } else { low + (high - low) * fraction }
}
fn between_integers(low: i64, high: i64, fraction: f64) -> i64 {
    (i128::from(low) + ((i128::from(high) - i128::from(low)) as f64 * fraction) as i128) as i64
}
numbers!([] i8, [] i16, [] i32, [] i64, [] u8, [] u16, [] u32, [] u64, [] half::f16, [] f32, [] f64, [const P: u8, const S: i8] Decimal<P, S>);
instants!(
    [Z: Zone] Timestamp<Seconds, Z>, [Z: Zone] Timestamp<Millis, Z>, [Z: Zone] Timestamp<Micros, Z>, [Z: Zone] Timestamp<Nanos, Z>,
    [] Duration<Seconds>, [] Duration<Millis>, [] Duration<Micros>, [] Duration<Nanos>,
);

/// The value below which this fraction of a group's values lies, interpolated between the two nearest: `quantile_cont` of
/// SQL. Nulls are skipped; without a value it is null.
pub fn quantile<V: Ranked>(fraction: f64) -> Arc<dyn AccumulatorFactory> {
    Arc::new(QuantileFactory::<V> { fraction, name: "quantile", kind: std::marker::PhantomData })
}
/// The quantile at one half.
pub fn median<V: Ranked>() -> Arc<dyn AccumulatorFactory> {
    Arc::new(QuantileFactory::<V> { fraction: 0.5, name: "median", kind: std::marker::PhantomData })
}

struct QuantileFactory<V> {
    fraction: f64,
    name: &'static str,
    kind: std::marker::PhantomData<fn() -> V>,
}

impl<V: Ranked> AccumulatorFactory for QuantileFactory<V> {
    fn create(&self) -> Box<dyn Accumulator> {
        Box::new(Quantiles::<V> { fraction: self.fraction, values: Lists::new() })
    }
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("values", list_type(&<V::Out as Fixed>::arrow_type(), false), false)]
    }
    fn output(&self) -> (DataType, bool) {
        (<V::Out as Fixed>::arrow_type(), true)
    }
    fn inputs(&self) -> usize {
        1
    }
    fn describe(&self) -> String {
        match self.name {
            "median" => format!("median({})", short::<V>()),
            name => format!("{name}({}, {})", short::<V>(), self.fraction),
        }
    }
}

/// Cost: an append per row, and a selection (linear, not a sort) per group at the end; all values are held.
struct Quantiles<V: Ranked> {
    fraction: f64,
    values: Lists<NativeOf<V::Out>>,
}

impl<V: Ranked> Quantiles<V> {
    fn of(&self, values: &mut [NativeOf<V::Out>]) -> Option<NativeOf<V::Out>> {
        let at = values.len().checked_sub(1)? as f64 * self.fraction;
        let (low, fraction) = (at.floor() as usize, at.fract());
        if low >= values.len() {
            return None;
        }
        let (_, value, above) = values.select_nth_unstable_by(low, V::order);
        let value = *value;
        if fraction == 0.0 {
            return Some(value);
        }
        above.iter().min_by(|a, b| V::order(a, b)).map_or(Some(value), |next| Some(V::between(value, *next, fraction)))
    }
}

impl<V: Ranked> Accumulator for Quantiles<V> {
    fn resize(&mut self, groups: usize) {
        self.values.resize(groups);
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = input::<V::Base>(columns)?;
        let array = primitive::<V::Base>(&column)?;
        let values = array.values();
        for_rows(groups, kept, array.nulls(), |group, row| {
            if let Some(value) = values.get(row) {
                self.values.push(group, V::point(*value));
            }
            Ok(())
        })
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let (items, of) = items_of(columns, 0, groups, kept)?;
        let items =
            items.as_primitive_opt::<<V::Out as Fixed>::Arrow>().ok_or_else(|| Error::internal("a partial quantile without its values"))?;
        of.iter().zip(items.values()).for_each(|(group, value)| self.values.push(*group as usize, *value));
        Ok(())
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let (values, lengths) = self.values.flat(groups);
        let items = PrimitiveArray::<<V::Out as Fixed>::Arrow>::new(ScalarBuffer::from(values), None);
        Ok(vec![list_column(Arc::new(items.with_data_type(<V::Out as Fixed>::arrow_type())), false, lengths)?])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        let mut values = Vec::new();
        let results: Vec<Option<NativeOf<V::Out>>> = groups
            .iter()
            .map(|group| {
                values.clear();
                self.values.of(*group).for_each(|run| values.extend_from_slice(run));
                self.of(&mut values)
            })
            .collect();
        let nulls = NullBuffer::from_iter(results.iter().map(Option::is_some));
        let values: Vec<NativeOf<V::Out>> = results.into_iter().map(Option::unwrap_or_default).collect();
        let array = PrimitiveArray::<<V::Out as Fixed>::Arrow>::new(ScalarBuffer::from(values), Some(nulls).filter(|n| n.null_count() > 0));
        Ok(Arc::new(array.with_data_type(<V::Out as Fixed>::arrow_type())))
    }
    fn bytes(&self) -> usize {
        self.values.bytes()
    }
}
