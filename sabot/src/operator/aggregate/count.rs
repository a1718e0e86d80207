//! Counts.

use std::sync::Arc;

use arrow_array::types::UInt64Type;
use arrow_array::{ArrayRef, UInt64Array};
use arrow_schema::{DataType, Field};

use super::accumulator::{gather, state};
use super::{Accumulator, AccumulatorFactory, OverChanges};
use crate::operator::kept::for_rows;
use crate::operator::{Failure, Kept};
use crate::{Error, Result};

/// The number of rows.
pub fn count() -> Arc<dyn AccumulatorFactory> {
    Arc::new(CountFactory { column: false })
}
/// The number of rows in which a column is not null.
pub fn count_of() -> Arc<dyn AccumulatorFactory> {
    Arc::new(CountFactory { column: true })
}

struct CountFactory {
    column: bool,
}

impl AccumulatorFactory for CountFactory {
    fn create(&self) -> Box<dyn Accumulator> {
        Box::new(Count { column: self.column, counts: Vec::new() })
    }
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("count", DataType::UInt64, false)]
    }
    fn output(&self) -> (DataType, bool) {
        (DataType::UInt64, false)
    }
    fn inputs(&self) -> usize {
        usize::from(self.column)
    }
    fn describe(&self) -> String {
        if self.column { "count(column)".into() } else { "count()".into() }
    }
    fn over_changes(&self) -> OverChanges {
        OverChanges::Own(Arc::new(CountFactory { column: self.column }))
    }
}

struct Count {
    column: bool,
    counts: Vec<u64>,
}

impl Count {
    fn add(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef], more: u64) -> Result<(), Failure> {
        let nulls = match (self.column, columns.first()) {
            (false, _) => None,
            (true, Some(column)) => column.logical_nulls(),
            (true, None) => return Err(Error::internal("count of a column without a column").into()),
        };
        for_rows(groups, kept, nulls.as_ref(), |group, _| {
            if let Some(count) = self.counts.get_mut(group) {
                *count = count.wrapping_add(more);
            }
            Ok(())
        })
    }
}

impl Accumulator for Count {
    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.add(groups, kept, columns, 1)
    }
    /// May be below zero for a moment, as a count that wraps around.
    fn retract(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.add(groups, kept, columns, u64::MAX)
    }
    fn empty(&mut self, groups: &[u32]) {
        for g in groups {
            if let Some(count) = self.counts.get_mut(*g as usize) {
                *count = 0;
            }
        }
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let values = state::<UInt64Type>(columns, 0)?.values();
        for_rows(groups, kept, None, |group, row| {
            if let (Some(count), Some(more)) = (self.counts.get_mut(group), values.get(row)) {
                *count = count.wrapping_add(*more);
            }
            Ok(())
        })
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(UInt64Array::from(gather(&self.counts, groups)))])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        Ok(Arc::new(UInt64Array::from(gather(&self.counts, groups))))
    }
    fn bytes(&self) -> usize {
        self.counts.capacity() * 8
    }
}
