//! Sums of integers, decimals and durations from which values may be taken away again.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::types::{Decimal128Type, Int64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, Decimal128Array, Int64Array, PrimitiveArray};
use arrow_schema::{DataType, Field};

use super::accumulator::{gather, input, primitive, short, state};
use super::{Accumulator, AccumulatorFactory, OverChanges, Summand, Whole};
use crate::Result;
use crate::operator::kept::for_rows;
use crate::operator::{Failure, Kept};
use crate::record::Fixed;

type ArrowOf<V> = <<V as Summand>::Total as Fixed>::Arrow;

/// The sum of a column over changes, kept in 128 bits: it may overflow for a moment, between a value that comes and one that is taken
/// back.
pub(super) fn net_sum<V: Whole>() -> Arc<dyn AccumulatorFactory> {
    Arc::new(NetSumFactory::<V>(PhantomData))
}

struct NetSumFactory<V>(PhantomData<fn() -> V>);

impl<V: Whole> AccumulatorFactory for NetSumFactory<V> {
    fn create(&self) -> Box<dyn Accumulator> {
        Box::new(NetSum::<V> { totals: Vec::new(), counts: Vec::new(), kind: PhantomData })
    }
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("sum", DataType::Decimal128(38, 0), false), Field::new("count", DataType::Int64, false)]
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
        OverChanges::Own(net_sum::<V>())
    }
}

struct NetSum<V> {
    totals: Vec<i128>,
    /// Values of each group that are not null.
    counts: Vec<i64>,
    kind: PhantomData<fn() -> V>,
}

impl<V: Whole> NetSum<V> {
    fn take(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef], sign: i64) -> Result<(), Failure> {
        let column = input::<V::Base>(columns)?;
        let array = primitive::<V::Base>(&column)?;
        let values = array.values();
        for_rows(groups, kept, array.nulls(), |group, row| {
            if let (Some(value), Some(total), Some(count)) = (values.get(row), self.totals.get_mut(group), self.counts.get_mut(group)) {
                let value = V::wide(*value);
                *total = if sign > 0 { total.wrapping_add(value) } else { total.wrapping_sub(value) };
                *count += sign;
            }
            Ok(())
        })
    }
}

impl<V: Whole> Accumulator for NetSum<V> {
    fn resize(&mut self, groups: usize) {
        self.totals.resize(groups, 0);
        self.counts.resize(groups, 0);
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.take(groups, kept, columns, 1)
    }
    fn retract(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.take(groups, kept, columns, -1)
    }
    fn empty(&mut self, groups: &[u32]) {
        for g in groups {
            if let (Some(total), Some(count)) = (self.totals.get_mut(*g as usize), self.counts.get_mut(*g as usize)) {
                (*total, *count) = (0, 0);
            }
        }
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let (sums, counts) = (state::<Decimal128Type>(columns, 0)?.values(), state::<Int64Type>(columns, 1)?.values());
        for_rows(groups, kept, None, |group, row| {
            if let (Some(total), Some(count)) = (self.totals.get_mut(group), self.counts.get_mut(group)) {
                *total = total.wrapping_add(sums.get(row).copied().unwrap_or_default());
                *count += counts.get(row).copied().unwrap_or_default();
            }
            Ok(())
        })
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums = Decimal128Array::from(gather(&self.totals, groups)).with_data_type(DataType::Decimal128(38, 0));
        Ok(vec![Arc::new(sums), Arc::new(Int64Array::from(gather(&self.counts, groups)))])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        let mut out: Vec<Option<<ArrowOf<V> as ArrowPrimitiveType>::Native>> = Vec::with_capacity(groups.len());
        for (i, g) in groups.iter().enumerate() {
            let (total, count) = (self.totals.get(*g as usize).copied().unwrap_or(0), self.counts.get(*g as usize).copied().unwrap_or(0));
            let narrow = V::narrow(total);
            if narrow.is_none() {
                return Err(Failure::row(i, "the sum overflows; sum a wider type, such as a float or a decimal"));
            }
            out.push(if V::NULLABLE && count <= 0 { None } else { narrow });
        }
        let array: PrimitiveArray<ArrowOf<V>> = out.into_iter().collect();
        Ok(Arc::new(array.with_data_type(<V::Total as Fixed>::arrow_type())))
    }
    fn bytes(&self) -> usize {
        self.totals.capacity() * 16 + self.counts.capacity() * 8
    }
}
