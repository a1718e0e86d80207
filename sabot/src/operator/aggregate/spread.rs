//! Variances and standard deviations.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array};
use arrow_schema::{DataType, Field};

use super::accumulator::{input, primitive, short, state};
use super::moments::{Measure, moments};
use super::{Accumulator, AccumulatorFactory, Mean, OverChanges};
use crate::Result;
use crate::operator::kept::for_rows;
use crate::operator::{Failure, Kept};

/// A column type that [`spread`] measures.
#[diagnostic::on_unimplemented(
    message = "variances and standard deviations take numbers, not values of type `{Self}`",
    label = "not a number",
    note = "`var`, `var_pop`, `stddev` and `stddev_pop` take integers, floats and decimals, and `Option` of these"
)]
pub trait Varies: Mean {}
#[diagnostic::do_not_recommend]
impl<V: Mean> Varies for V {}

/// Which measure of spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// The sample variance: null for fewer than two values.
    Var,
    /// The variance of a whole population: null without a value.
    VarPop,
    /// The square root of [`Var`](Self::Var).
    Stddev,
    /// The square root of [`VarPop`](Self::VarPop).
    StddevPop,
}

impl Spread {
    fn name(self) -> &'static str {
        match self {
            Spread::Var => "var",
            Spread::VarPop => "var_pop",
            Spread::Stddev => "stddev",
            Spread::StddevPop => "stddev_pop",
        }
    }
    fn of(self, m: Moments) -> Option<f64> {
        self.measure(m.count, m.squares)
    }
    /// The measure of so many values with this sum of squared distances from their mean.
    pub(super) fn measure(self, count: f64, squares: f64) -> Option<f64> {
        let over = match self {
            Spread::Var | Spread::Stddev => count - 1.0,
            Spread::VarPop | Spread::StddevPop => count,
        };
        let var = (over > 0.0).then(|| squares / over)?;
        Some(if matches!(self, Spread::Stddev | Spread::StddevPop) { var.sqrt() } else { var })
    }
}

/// How far the values of a column spread. Nulls are skipped.
///
/// Rows are added by Welford's recurrence and partial results merged by the formula of Chan, Golub and LeVeque, both of
/// which stay exact where the sum of squares would cancel out.
pub fn spread<V: Varies>(which: Spread) -> Arc<dyn AccumulatorFactory> {
    Arc::new(SpreadFactory::<V> { which, kind: PhantomData })
}

struct SpreadFactory<V> {
    which: Spread,
    kind: PhantomData<fn() -> V>,
}

impl<V: Varies> AccumulatorFactory for SpreadFactory<V> {
    fn create(&self) -> Box<dyn Accumulator> {
        Box::new(Spreads::<V> { which: self.which, moments: Vec::new(), kind: PhantomData })
    }
    fn state_fields(&self) -> Vec<Field> {
        ["count", "mean", "squares"].map(|name| Field::new(name, DataType::Float64, false)).into()
    }
    fn output(&self) -> (DataType, bool) {
        (DataType::Float64, true)
    }
    fn inputs(&self) -> usize {
        1
    }
    fn describe(&self) -> String {
        format!("{}({})", self.which.name(), short::<V>())
    }
    fn over_changes(&self) -> OverChanges {
        OverChanges::Own(moments::<V>(Measure::Spread(self.which), self.describe(), self.output()))
    }
}

/// Number of values, their mean, and the sum of their squared distances from it.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

struct Spreads<V> {
    which: Spread,
    moments: Vec<Moments>,
    kind: PhantomData<fn() -> V>,
}

impl<V> Spreads<V> {
    fn column(&self, groups: &[u32], of: impl Fn(Moments) -> f64) -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(groups.iter().map(|g| of(self.moments.get(*g as usize).copied().unwrap_or_default()))))
    }
}

impl<V: Varies> Accumulator for Spreads<V> {
    fn resize(&mut self, groups: usize) {
        self.moments.resize(groups, Moments::default());
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = input::<V::Base>(columns)?;
        let array = primitive::<V::Base>(&column)?;
        let values = array.values();
        for_rows(groups, kept, array.nulls(), |group, row| {
            if let (Some(value), Some(m)) = (values.get(row), self.moments.get_mut(group)) {
                let value = V::float(*value);
                m.count += 1.0;
                let off = value - m.mean;
                m.mean += off / m.count;
                m.squares += off * (value - m.mean);
            }
            Ok(())
        })
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = |at| state::<Float64Type>(columns, at).map(|c| c.values());
        let (counts, means, squares) = (column(0)?, column(1)?, column(2)?);
        for_rows(groups, kept, None, |group, row| {
            if let (Some(count), Some(mean), Some(more), Some(m)) =
                (counts.get(row), means.get(row), squares.get(row), self.moments.get_mut(group))
                && *count > 0.0
            {
                let both = m.count + count;
                let off = mean - m.mean;
                // the first of two parts stays bit for bit what it was
                m.mean = if m.count == 0.0 { *mean } else { m.mean + off * (count / both) };
                m.squares += if m.count == 0.0 { *more } else { more + off * off * (m.count * count / both) };
                m.count = both;
            }
            Ok(())
        })
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.column(groups, |m| m.count), self.column(groups, |m| m.mean), self.column(groups, |m| m.squares)])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        let of = |g: &u32| self.moments.get(*g as usize).and_then(|m| self.which.of(*m));
        Ok(Arc::new(groups.iter().map(of).collect::<Float64Array>()))
    }
    fn bytes(&self) -> usize {
        self.moments.capacity() * size_of::<Moments>()
    }
}
