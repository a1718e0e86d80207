//! Sums.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field};

use super::accumulator::{gather, input, primitive, short, state};
use super::{Accumulator, AccumulatorFactory, OverChanges, Summand};
use crate::Result;
use crate::operator::kept::for_rows;
use crate::operator::{Failure, Kept};
use crate::record::Fixed;

type ArrowOf<V> = <<V as Summand>::Total as Fixed>::Arrow;
type TotalOf<V> = <ArrowOf<V> as ArrowPrimitiveType>::Native;

/// The sum of a column. Nulls are skipped; a nullable column without a value sums to null. An overflow of the total is an
/// error. Floats are added in row order within a split, splits in split order.
pub fn sum<V: Summand>() -> Arc<dyn AccumulatorFactory> {
    Arc::new(SumFactory::<V>(PhantomData))
}

struct SumFactory<V>(PhantomData<fn() -> V>);

impl<V: Summand> AccumulatorFactory for SumFactory<V> {
    fn create(&self) -> Box<dyn Accumulator> {
        Box::new(Sum::<V> { totals: Vec::new(), seen: Vec::new() })
    }
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("sum", <V::Total as Fixed>::arrow_type(), V::NULLABLE)]
    }
    fn output(&self) -> (DataType, bool) {
        (<V::Total as Fixed>::arrow_type(), V::NULLABLE)
    }
    fn inputs(&self) -> usize {
        1
    }
    fn describe(&self) -> String {
        format!("sum({})", short::<V>())
    }
    fn over_changes(&self) -> OverChanges {
        OverChanges::Own(V::over_changes())
    }
}

struct Sum<V: Summand> {
    totals: Vec<TotalOf<V>>,
    /// Whether a group has a value; empty unless the column is nullable.
    seen: Vec<bool>,
}

impl<V: Summand> Sum<V> {
    fn column(&self, groups: &[u32]) -> ArrayRef {
        let nulls = V::NULLABLE.then(|| NullBuffer::from(gather(&self.seen, groups)));
        let array = PrimitiveArray::<ArrowOf<V>>::new(ScalarBuffer::from(gather(&self.totals, groups)), nulls);
        Arc::new(array.with_data_type(<V::Total as Fixed>::arrow_type()))
    }
    #[inline(always)]
    fn add(&mut self, group: usize, row: usize, add: impl FnOnce(TotalOf<V>) -> Option<TotalOf<V>>) -> Result<(), Failure> {
        if let Some(total) = self.totals.get_mut(group) {
            match add(*total) {
                Some(sum) => *total = sum,
                None => return Err(overflow(row)),
            }
        }
        if V::NULLABLE
            && let Some(seen) = self.seen.get_mut(group)
        {
            *seen = true;
        }
        Ok(())
    }
}

#[cold]
fn overflow(row: usize) -> Failure {
    Failure::row(row, "the sum overflows; sum a wider type, such as a float or a decimal")
}

impl<V: Summand> Accumulator for Sum<V> {
    fn resize(&mut self, groups: usize) {
        self.totals.resize(groups, TotalOf::<V>::default());
        if V::NULLABLE {
            self.seen.resize(groups, false);
        }
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = input::<V::Base>(columns)?;
        let array = primitive::<V::Base>(&column)?;
        let values = array.values();
        for_rows(groups, kept, array.nulls(), |group, row| match values.get(row) {
            Some(value) => self.add(group, row, |total| V::add(total, *value)),
            None => Ok(()),
        })
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let array = state::<ArrowOf<V>>(columns, 0)?;
        let values = array.values();
        for_rows(groups, kept, array.nulls(), |group, row| match values.get(row) {
            Some(value) => self.add(group, row, |total| V::merge(total, *value)),
            None => Ok(()),
        })
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.column(groups)])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        Ok(self.column(groups))
    }
    fn bytes(&self) -> usize {
        self.totals.capacity() * size_of::<TotalOf<V>>() + self.seen.capacity()
    }
}
