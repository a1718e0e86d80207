//! From when to when the rows of a group are: what a session keeps beside its functions.

use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_schema::{DataType, Field};

use super::accumulator::{gather, state};
use super::window::{offset, per_second, words};
use super::{Accumulator, AccumulatorFactory};
use crate::operator::kept::for_rows;
use crate::operator::{Failure, Kept};
use crate::{Error, Result};

/// The first and the last value of an event-time column, in its unit, plus so many microseconds. Its states are its result.
pub(super) fn extent(micros: i64) -> Arc<dyn AccumulatorFactory> {
    Arc::new(ExtentFactory { micros })
}

struct ExtentFactory {
    micros: i64,
}

impl AccumulatorFactory for ExtentFactory {
    fn create(&self) -> Box<dyn Accumulator> {
        Box::new(Extent { micros: self.micros, first: Vec::new(), last: Vec::new() })
    }
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("first", DataType::Int64, false), Field::new("last", DataType::Int64, false)]
    }
    fn output(&self) -> (DataType, bool) {
        (DataType::Int64, false)
    }
    fn inputs(&self) -> usize {
        1
    }
    fn describe(&self) -> String {
        "extent(time)".into()
    }
}

struct Extent {
    micros: i64,
    first: Vec<i64>,
    last: Vec<i64>,
}

impl Extent {
    fn take(&mut self, groups: &[u32], kept: Kept<'_>, firsts: &[i64], lasts: &[i64], add: i64) -> Result<(), Failure> {
        for_rows(groups, kept, None, |group, row| {
            if let (Some(first), Some(last)) = (self.first.get_mut(group), self.last.get_mut(group))
                && let (Some(from), Some(to)) = (firsts.get(row), lasts.get(row))
            {
                *first = from.saturating_add(add).min(*first);
                *last = to.saturating_add(add).max(*last);
            }
            Ok(())
        })
    }
}

/// The first and the last times, from the states of an extent.
pub(super) fn bounds(columns: &[ArrayRef]) -> Result<(&[i64], &[i64])> {
    Ok((&state::<Int64Type>(columns, 0)?.values()[..], &state::<Int64Type>(columns, 1)?.values()[..]))
}

impl Accumulator for Extent {
    fn resize(&mut self, groups: usize) {
        self.first.resize(groups, i64::MAX);
        self.last.resize(groups, i64::MIN);
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let times = columns.first().ok_or_else(|| Error::internal("a session without its event time"))?;
        let unit = per_second(times.data_type()).ok_or_else(|| Error::Plan(format!("event time of type {}", times.data_type())))?;
        let times = words(times)?;
        self.take(groups, kept, &times, &times, offset(self.micros, unit))
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let (firsts, lasts) = bounds(columns)?;
        self.take(groups, kept, firsts, lasts, 0)
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(Int64Array::from(gather(&self.first, groups))), Arc::new(Int64Array::from(gather(&self.last, groups)))])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        Ok(Arc::new(Int64Array::from(gather(&self.last, groups))))
    }
    fn bytes(&self) -> usize {
        (self.first.capacity() + self.last.capacity()) * 8
    }
}
