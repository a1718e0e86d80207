//! Means.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};

use super::accumulator::{gather, input, primitive, short, state};
use super::moments::{Measure, moments};
use super::{Accumulator, AccumulatorFactory, Mean, OverChanges};
use crate::Result;
use crate::operator::kept::for_rows;
use crate::operator::{Failure, Kept};

/// The arithmetic mean of a column, as a float. Nulls are skipped; without a value the mean is null.
pub fn mean<V: Mean>() -> Arc<dyn AccumulatorFactory> {
    Arc::new(MeanFactory::<V>(PhantomData))
}

struct MeanFactory<V>(PhantomData<fn() -> V>);

impl<V: Mean> AccumulatorFactory for MeanFactory<V> {
    fn create(&self) -> Box<dyn Accumulator> {
        Box::new(Means::<V> { sums: Vec::new(), counts: Vec::new(), kind: PhantomData })
    }
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("sum", DataType::Float64, false), Field::new("count", DataType::Int64, false)]
    }
    fn output(&self) -> (DataType, bool) {
        (DataType::Float64, true)
    }
    fn inputs(&self) -> usize {
        1
    }
    fn describe(&self) -> String {
        format!("mean({})", short::<V>())
    }
    fn over_changes(&self) -> OverChanges {
        OverChanges::Own(moments::<V>(Measure::Mean, self.describe(), self.output()))
    }
}

struct Means<V> {
    sums: Vec<f64>,
    counts: Vec<i64>,
    kind: PhantomData<fn() -> V>,
}

impl<V> Means<V> {
    #[inline(always)]
    fn add(&mut self, group: usize, sum: f64, count: i64) {
        if let (Some(s), Some(c)) = (self.sums.get_mut(group), self.counts.get_mut(group)) {
            *s += sum;
            *c += count;
        }
    }
}

impl<V: Mean> Accumulator for Means<V> {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, 0.0);
        self.counts.resize(groups, 0);
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = input::<V::Base>(columns)?;
        let array = primitive::<V::Base>(&column)?;
        let values = array.values();
        for_rows(groups, kept, array.nulls(), |group, row| {
            if let Some(value) = values.get(row) {
                self.add(group, V::float(*value), 1);
            }
            Ok(())
        })
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let (sums, counts) = (state::<Float64Type>(columns, 0)?, state::<Int64Type>(columns, 1)?);
        for_rows(groups, kept, None, |group, row| {
            if let (Some(sum), Some(count)) = (sums.values().get(row), counts.values().get(row)) {
                self.add(group, *sum, *count);
            }
            Ok(())
        })
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(Float64Array::from(gather(&self.sums, groups))), Arc::new(Int64Array::from(gather(&self.counts, groups)))])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        let counts = gather(&self.counts, groups);
        let means: Vec<f64> =
            gather(&self.sums, groups).iter().zip(&counts).map(|(s, c)| if *c == 0 { 0.0 } else { s / *c as f64 }).collect();
        let nulls = NullBuffer::from_iter(counts.iter().map(|c| *c > 0));
        Ok(Arc::new(Float64Array::new(means.into(), Some(nulls).filter(|n| n.null_count() > 0))))
    }
    fn bytes(&self) -> usize {
        (self.sums.capacity() + self.counts.capacity()) * 8
    }
}
