//! Least and greatest values.

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::builder::{BinaryViewBuilder, StringViewBuilder};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, cast::AsArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field};

use super::accumulator::{gather, input, primitive, short, state};
use super::{Accumulator, AccumulatorFactory, Kind, Needs, OverChanges};
use crate::operator::kept::{as_views, for_rows, is_utf8, plain, plain_type, view_value};
use crate::operator::{Failure, Kept};
use crate::record::{Bytes, Date, Decimal, Dict, Duration, Fixed, Micros, Millis, Nanos, Seconds, Str, Time, Timestamp, Value, Zone};
use crate::{Error, Result};

/// A column type with an order: numbers (floats in IEEE total order), bool, dates, times, decimals, text, bytes, and
/// `Option` of these.
#[diagnostic::on_unimplemented(
    message = "`min` and `max` cannot compare values of type `{Self}`",
    label = "has no order",
    note = "they take numbers, bool, dates, times, decimals, text, bytes, and `Option` of these"
)]
pub trait Extreme: Value {
    /// The type with null: of the extreme of all rows, if there may be none.
    type Nullable: Extreme;
    /// An accumulator for the greatest (`GREATEST`) or the least value.
    fn accumulator<const GREATEST: bool>() -> Box<dyn Accumulator>;
}

/// The least value of a column. Nulls are skipped; without a value it is null.
pub fn min<V: Extreme>() -> Arc<dyn AccumulatorFactory> {
    Arc::new(ExtremeFactory::<V, false>(PhantomData))
}
/// The greatest value of a column. Nulls are skipped; without a value it is null.
pub fn max<V: Extreme>() -> Arc<dyn AccumulatorFactory> {
    Arc::new(ExtremeFactory::<V, true>(PhantomData))
}

struct ExtremeFactory<V, const GREATEST: bool>(PhantomData<fn() -> V>);

impl<V: Extreme, const GREATEST: bool> AccumulatorFactory for ExtremeFactory<V, GREATEST> {
    fn create(&self) -> Box<dyn Accumulator> {
        V::accumulator::<GREATEST>()
    }
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new(if GREATEST { "max" } else { "min" }, plain_type(&V::data_type()), true)]
    }
    fn output(&self) -> (DataType, bool) {
        (V::data_type(), V::NULLABLE)
    }
    fn inputs(&self) -> usize {
        1
    }
    fn describe(&self) -> String {
        format!("{}({})", if GREATEST { "max" } else { "min" }, short::<V>())
    }
    fn over_changes(&self) -> OverChanges {
        OverChanges::Kept(Kind { needs: if GREATEST { Needs::Last } else { Needs::First }, first_by: 0, skips_nulls: true })
    }
}

#[inline(always)]
fn better<const GREATEST: bool>(order: Ordering) -> bool {
    order == if GREATEST { Ordering::Greater } else { Ordering::Less }
}

/// An order of machine words.
trait Word: Copy {
    fn order(self, other: Self) -> Ordering;
}
macro_rules! words {
    ($by:ident: $($t:ty),*) => {$(
        impl Word for $t {
            #[inline(always)]
            fn order(self, other: $t) -> Ordering { self.$by(&other) }
        }
    )*};
}
words!(cmp: i8, i16, i32, i64, i128, u8, u16, u32, u64);
words!(total_cmp: half::f16, f32, f64);

struct FixedExtreme<T: Fixed, const GREATEST: bool> {
    best: Vec<<T::Arrow as ArrowPrimitiveType>::Native>,
    seen: Vec<bool>,
}

impl<T: Fixed + Value, const GREATEST: bool> FixedExtreme<T, GREATEST>
where
    <T::Arrow as ArrowPrimitiveType>::Native: Word,
{
    fn take(&mut self, groups: &[u32], kept: Kept<'_>, array: &PrimitiveArray<T::Arrow>) -> Result<(), Failure> {
        let values = array.values();
        for_rows(groups, kept, array.nulls(), |group, row| {
            if let (Some(value), Some(best), Some(seen)) = (values.get(row), self.best.get_mut(group), self.seen.get_mut(group))
                && (!*seen || better::<GREATEST>(value.order(*best)))
            {
                *best = *value;
                *seen = true;
            }
            Ok(())
        })
    }
    fn column(&self, groups: &[u32]) -> ArrayRef {
        let nulls = Some(NullBuffer::from(gather(&self.seen, groups))).filter(|n| n.null_count() > 0);
        Arc::new(PrimitiveArray::<T::Arrow>::new(ScalarBuffer::from(gather(&self.best, groups)), nulls).with_data_type(T::arrow_type()))
    }
}

impl<T: Fixed + Value, const GREATEST: bool> Accumulator for FixedExtreme<T, GREATEST>
where
    <T::Arrow as ArrowPrimitiveType>::Native: Word,
{
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, Default::default());
        self.seen.resize(groups, false);
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = input::<T>(columns)?;
        self.take(groups, kept, primitive::<T>(&column)?)
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.take(groups, kept, state::<T::Arrow>(columns, 0)?)
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.column(groups)])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        Ok(self.column(groups))
    }
    fn bytes(&self) -> usize {
        self.best.capacity() * size_of::<<T::Arrow as ArrowPrimitiveType>::Native>() + self.seen.capacity()
    }
}

/// The best of booleans: whether a group has one, and which.
struct BoolExtreme<const GREATEST: bool>(Vec<Option<bool>>);

impl<const GREATEST: bool> Accumulator for BoolExtreme<GREATEST> {
    fn resize(&mut self, groups: usize) {
        self.0.resize(groups, None);
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = input::<bool>(columns)?;
        let array = column.as_boolean();
        for_rows(groups, kept, array.nulls(), |group, row| {
            if let Some(best) = self.0.get_mut(group) {
                let value = array.value(row);
                *best = Some(best.map_or(value, |b| if GREATEST { b | value } else { b & value }));
            }
            Ok(())
        })
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.update(groups, kept, columns)
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(BooleanArray::from(gather(&self.0, groups)))])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        Ok(Arc::new(BooleanArray::from(gather(&self.0, groups))))
    }
    fn bytes(&self) -> usize {
        self.0.capacity()
    }
}

struct TextExtreme<V, const GREATEST: bool> {
    best: Vec<Option<Box<[u8]>>>,
    long: usize,
    kind: PhantomData<fn() -> V>,
}

impl<V: Value, const GREATEST: bool> TextExtreme<V, GREATEST> {
    fn take(&mut self, groups: &[u32], kept: Kept<'_>, column: &ArrayRef) -> Result<(), Failure> {
        let array = as_views(&plain(column)?)?;
        for_rows(groups, kept, array.nulls(), |group, row| {
            let value = view_value(&array, row);
            if let Some(best) = self.best.get_mut(group)
                && best.as_ref().is_none_or(|b| better::<GREATEST>(value.cmp(b)))
            {
                self.long = self.long + value.len() - best.as_ref().map_or(0, |b| b.len());
                *best = Some(value.into());
            }
            Ok(())
        })
    }
    fn column(&self, groups: &[u32], want: &DataType) -> Result<ArrayRef> {
        let values = groups.iter().map(|g| self.best.get(*g as usize).and_then(|b| b.as_deref()));
        let array: ArrayRef = if is_utf8(&plain_type(want)) {
            let mut out = StringViewBuilder::with_capacity(groups.len());
            for value in values {
                let text = value.map(std::str::from_utf8).transpose().map_err(|_| Error::internal("text that is not text"))?;
                out.append_option(text);
            }
            Arc::new(out.finish())
        } else {
            let mut out = BinaryViewBuilder::with_capacity(groups.len());
            values.for_each(|v| out.append_option(v));
            Arc::new(out.finish())
        };
        if array.data_type() == want { Ok(array) } else { Ok(arrow_cast::cast(&array, want)?) }
    }
}

impl<V: Value, const GREATEST: bool> Accumulator for TextExtreme<V, GREATEST> {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, None);
        if groups == 0 {
            self.long = 0;
        }
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.take(groups, kept, &input::<V>(columns)?)
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = columns.first().ok_or_else(|| Error::internal("a partial extreme without a column"))?;
        self.take(groups, kept, column)
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.column(groups, &plain_type(&V::data_type()))?])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        Ok(self.column(groups, &V::data_type())?)
    }
    fn bytes(&self) -> usize {
        self.best.capacity() * 16 + self.long
    }
}

macro_rules! extremes {
    ($([$($gen:tt)*] $t:ty => $make:expr;)*) => {$(
        impl<$($gen)*> Extreme for $t {
            type Nullable = Option<$t>;
            fn accumulator<const GREATEST: bool>() -> Box<dyn Accumulator> { Box::new($make) }
        }
        impl<$($gen)*> Extreme for Option<$t> {
            type Nullable = Option<$t>;
            fn accumulator<const GREATEST: bool>() -> Box<dyn Accumulator> { <$t as Extreme>::accumulator::<GREATEST>() }
        }
    )*};
}
macro_rules! fixed {
    ($([$($gen:tt)*] $t:ty),* $(,)?) => { extremes!($([$($gen)*] $t => FixedExtreme::<$t, GREATEST> { best: Vec::new(), seen: Vec::new() };)*); };
}
fixed!(
    [] i8, [] i16, [] i32, [] i64, [] u8, [] u16, [] u32, [] u64, [] half::f16, [] f32, [] f64, [] Date,
    [const P: u8, const S: i8] Decimal<P, S>,
    [Z: Zone] Timestamp<Seconds, Z>, [Z: Zone] Timestamp<Millis, Z>, [Z: Zone] Timestamp<Micros, Z>, [Z: Zone] Timestamp<Nanos, Z>,
    [] Duration<Seconds>, [] Duration<Millis>, [] Duration<Micros>, [] Duration<Nanos>,
    [] Time<Seconds>, [] Time<Millis>, [] Time<Micros>, [] Time<Nanos>,
);
extremes!(
    [] bool => BoolExtreme::<GREATEST>(Vec::new());
    [] Str => TextExtreme::<Str, GREATEST> { best: Vec::new(), long: 0, kind: PhantomData };
    [] Bytes => TextExtreme::<Bytes, GREATEST> { best: Vec::new(), long: 0, kind: PhantomData };
    [] Dict<Str> => TextExtreme::<Dict<Str>, GREATEST> { best: Vec::new(), long: 0, kind: PhantomData };
);
