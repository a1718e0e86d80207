//! Sums, means and variances of values that may be taken away again: exact (see [`Exact`]), rounded once.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, cast::AsArray};
use arrow_schema::{DataType, Field};

use super::accumulator::{input, primitive, state};
use super::exact::Exact;
use super::lists::{items_of, list_column, list_type};
use super::spread::Spread;
use super::{Accumulator, AccumulatorFactory, Mean, OverChanges};
use crate::Result;
use crate::operator::kept::for_rows;
use crate::operator::{Failure, Kept};

/// What is made of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Sum,
    Mean,
    Spread(Spread),
}

/// A measure over changes, of a function that describes itself like this, with this result.
pub(super) fn moments<V: Mean>(measure: Measure, describe: String, output: (DataType, bool)) -> Arc<dyn AccumulatorFactory> {
    Arc::new(MomentsFactory::<V> { measure, describe, output, kind: PhantomData })
}

struct MomentsFactory<V> {
    measure: Measure,
    describe: String,
    output: (DataType, bool),
    kind: PhantomData<fn() -> V>,
}

impl<V: Mean> AccumulatorFactory for MomentsFactory<V> {
    fn create(&self) -> Box<dyn Accumulator> {
        let nullable = self.output.1;
        Box::new(MomentsOf::<V> { measure: self.measure, nullable, groups: Vec::new(), kind: PhantomData })
    }
    fn state_fields(&self) -> Vec<Field> {
        let list = |name: &str| Field::new(name, list_type(&DataType::Float64, false), false);
        let number = |name: &str| Field::new(name, DataType::Int64, false);
        vec![list("sum"), list("squares"), number("count"), number("nan"), number("above"), number("below")]
    }
    fn output(&self) -> (DataType, bool) {
        self.output.clone()
    }
    fn inputs(&self) -> usize {
        1
    }
    fn describe(&self) -> String {
        self.describe.clone()
    }
    fn over_changes(&self) -> OverChanges {
        OverChanges::Own(moments::<V>(self.measure, self.describe.clone(), self.output.clone()))
    }
}

/// The values of a group: their number, and what is finite among them added up.
#[derive(Clone, Debug, Default)]
struct Moments {
    sum: Exact,
    squares: Exact,
    count: i64,
    /// Values that are no number, and those beyond all numbers.
    odd: [i64; 3],
}

struct MomentsOf<V> {
    measure: Measure,
    nullable: bool,
    groups: Vec<Moments>,
    kind: PhantomData<fn() -> V>,
}

#[cold]
fn overflow(row: usize) -> Failure {
    Failure::row(row, "the values are too large to be added up")
}

impl<V: Mean> MomentsOf<V> {
    fn take(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef], sign: i64) -> Result<(), Failure> {
        let column = input::<V::Base>(columns)?;
        let array = primitive::<V::Base>(&column)?;
        let (values, squares) = (array.values(), matches!(self.measure, Measure::Spread(_)));
        for_rows(groups, kept, array.nulls(), |group, row| {
            let (Some(value), Some(m)) = (values.get(row), self.groups.get_mut(group)) else { return Ok(()) };
            let value = V::float(*value);
            m.count += sign;
            if value.is_finite() {
                let fits = m.sum.add(value * sign as f64) && (!squares || m.squares.add_square(value, sign as f64));
                return if fits { Ok(()) } else { Err(overflow(row)) };
            }
            let kind = if value.is_nan() { 0 } else { 1 + usize::from(value < 0.0) };
            if let Some(odd) = m.odd.get_mut(kind) {
                *odd += sign;
            }
            Ok(())
        })
    }
    fn value(&self, m: &Moments) -> Option<f64> {
        if m.count <= 0 {
            return (!self.nullable).then_some(0.0);
        }
        let odd = match m.odd {
            [0, 0, 0] => None,
            [0, _, 0] => Some(f64::INFINITY),
            [0, 0, _] => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        };
        let n = m.count as f64;
        match self.measure {
            Measure::Sum => Some(odd.unwrap_or_else(|| m.sum.value())),
            Measure::Mean => Some(odd.unwrap_or_else(|| m.sum.value() / n)),
            Measure::Spread(which) => {
                let squares = match odd {
                    Some(_) => f64::NAN,
                    None => Exact::spread(n, &m.sum, &m.squares).map_or(f64::NAN, |s| s / n),
                };
                which.measure(n, squares)
            }
        }
    }
}

impl<V: Mean> Accumulator for MomentsOf<V> {
    fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, Moments::default);
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.take(groups, kept, columns, 1)
    }
    fn retract(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.take(groups, kept, columns, -1)
    }
    fn empty(&mut self, groups: &[u32]) {
        for g in groups {
            if let Some(m) = self.groups.get_mut(*g as usize) {
                *m = Moments::default();
            }
        }
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        for at in [0, 1] {
            let (items, of) = items_of(columns, at, groups, kept)?;
            let items = items.as_primitive::<Float64Type>();
            for (item, group) in items.values().iter().zip(of) {
                if let Some(m) = self.groups.get_mut(group as usize) {
                    let sum = if at == 0 { &mut m.sum } else { &mut m.squares };
                    if !sum.add(*item) {
                        return Err(overflow(0));
                    }
                }
            }
        }
        let number = |at| state::<Int64Type>(columns, at).map(|c| c.values());
        let (counts, odd) = (number(2)?, [number(3)?, number(4)?, number(5)?]);
        for_rows(groups, kept, None, |group, row| {
            if let Some(m) = self.groups.get_mut(group) {
                m.count += counts.get(row).copied().unwrap_or_default();
                for (to, from) in m.odd.iter_mut().zip(&odd) {
                    *to += from.get(row).copied().unwrap_or_default();
                }
            }
            Ok(())
        })
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let nothing = Moments::default();
        let of = |g: &u32| self.groups.get(*g as usize).unwrap_or(&nothing);
        let list = |part: &dyn Fn(&Moments) -> &Exact| {
            let lengths = groups.iter().map(|g| part(of(g)).parts().len()).collect();
            let items: Float64Array = groups.iter().flat_map(|g| part(of(g)).parts().iter().copied()).collect::<Vec<f64>>().into();
            list_column(Arc::new(items), false, lengths)
        };
        let number =
            |part: &dyn Fn(&Moments) -> i64| Arc::new(Int64Array::from_iter_values(groups.iter().map(|g| part(of(g))))) as ArrayRef;
        Ok(vec![
            list(&|m| &m.sum)?,
            list(&|m| &m.squares)?,
            number(&|m| m.count),
            number(&|m| m.odd[0]),
            number(&|m| m.odd[1]),
            number(&|m| m.odd[2]),
        ])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        let of = |g: &u32| self.groups.get(*g as usize).and_then(|m| self.value(m));
        Ok(Arc::new(groups.iter().map(of).collect::<Float64Array>()))
    }
    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Moments>() + self.groups.iter().map(|m| m.sum.bytes() + m.squares.bytes()).sum::<usize>()
    }
}
