//! The first and the last row of a group.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, UInt32Array};
use arrow_schema::{DataType, Field};

use super::accumulator::{gather, short, state};
use super::store::{NO_ROW, Store, as_type, instants, stored, stored_type};
use super::{Accumulator, AccumulatorFactory, Kind, Needs, OverChanges};
use crate::operator::kept::for_rows;
use crate::operator::{Failure, Kept, Piece};
use crate::record::Value;
use crate::{Error, Result};

/// Rows of the store beyond twice the groups, from which on it is made anew.
const SPARE: usize = 8192;

/// The value in the first row of a group, a null too: in source order, or, with `timed`, by a second input column that
/// holds event time, then in source order.
pub fn first<V: Value>(timed: bool) -> Arc<dyn AccumulatorFactory> {
    Arc::new(EdgeFactory::<V> { last: false, timed, kind: PhantomData })
}
/// The value in the last row of a group; as [`first`].
pub fn last<V: Value>(timed: bool) -> Arc<dyn AccumulatorFactory> {
    Arc::new(EdgeFactory::<V> { last: true, timed, kind: PhantomData })
}

struct EdgeFactory<V> {
    last: bool,
    timed: bool,
    kind: PhantomData<fn() -> V>,
}

impl<V: Value> AccumulatorFactory for EdgeFactory<V> {
    fn create(&self) -> Box<dyn Accumulator> {
        let store = Store::new(stored_type::<V>());
        Box::new(Edge::<V> { last: self.last, timed: self.timed, store, at: Vec::new(), times: Vec::new(), live: 0, kind: PhantomData })
    }
    fn state_fields(&self) -> Vec<Field> {
        let mut fields = vec![Field::new("value", stored_type::<V>(), true)];
        if self.timed {
            fields.push(Field::new("time", DataType::Int64, false));
        }
        fields
    }
    fn output(&self) -> (DataType, bool) {
        (V::data_type(), V::NULLABLE)
    }
    fn inputs(&self) -> usize {
        1 + usize::from(self.timed)
    }
    fn describe(&self) -> String {
        format!("{}({})", if self.last { "last" } else { "first" }, short::<V>())
    }
    fn over_changes(&self) -> OverChanges {
        let needs = if self.last { Needs::Last } else { Needs::First };
        OverChanges::Kept(Kind { needs, first_by: usize::from(self.timed), skips_nulls: false })
    }
}

/// Cost: a compare per row; of a batch, one row per group at most is copied.
struct Edge<V> {
    last: bool,
    timed: bool,
    store: Store,
    /// The row of each group in the store.
    at: Vec<u32>,
    /// The event time of that row, if there is one.
    times: Vec<i64>,
    /// Groups that have a row.
    live: usize,
    kind: PhantomData<fn() -> V>,
}

impl<V: Value> Edge<V> {
    fn take(&mut self, groups: &[u32], kept: Kept<'_>, column: &ArrayRef, times: Option<&[i64]>) -> Result<(), Failure> {
        let base = self.store.rows() as u32;
        let mut rows: Vec<u32> = Vec::new();
        let (last, live) = (self.last, &mut self.live);
        let (places, known) = (&mut self.at, &mut self.times);
        let done: Result<(), Failure> = for_rows(groups, kept, None, |group, row| {
            let Some(at) = places.get_mut(group) else { return Ok(()) };
            let mut wins = *at == NO_ROW || last;
            if let (Some(times), Some(known)) = (times, known.get_mut(group)) {
                let time = times.get(row).copied().unwrap_or_default();
                wins = *at == NO_ROW || if last { time >= *known } else { time < *known };
                if wins {
                    *known = time;
                }
            }
            if !wins {
                return Ok(());
            }
            *live += usize::from(*at == NO_ROW);
            match at.checked_sub(base).filter(|_| *at != NO_ROW).and_then(|i| rows.get_mut(i as usize)) {
                // a row of this batch gives way
                Some(slot) => *slot = row as u32,
                None => {
                    *at = base + rows.len() as u32;
                    rows.push(row as u32);
                }
            }
            Ok(())
        });
        done?;
        if !rows.is_empty() {
            self.store.push(arrow_select::take::take(column, &UInt32Array::from(rows), None).map_err(Error::from)?)?;
        }
        if self.store.rows() > self.live * 2 + SPARE {
            self.compact()?;
        }
        Ok(())
    }
    /// Forgets the rows that gave way.
    fn compact(&mut self) -> Result<()> {
        let rows: Vec<u32> = self.at.iter().copied().filter(|at| *at != NO_ROW).collect();
        let values = self.store.gather(&rows)?;
        self.store.clear();
        self.store.push(values)?;
        self.at.iter_mut().filter(|at| **at != NO_ROW).zip(0u32..).for_each(|(at, n)| *at = n);
        Ok(())
    }
    fn rows(&self, groups: &[u32]) -> Vec<u32> {
        groups.iter().map(|g| self.at.get(*g as usize).copied().unwrap_or(NO_ROW)).collect()
    }
    fn values(&self, groups: &[u32]) -> Result<ArrayRef> {
        self.store.gather(&self.rows(groups))
    }
}

impl<V: Value> Accumulator for Edge<V> {
    fn resize(&mut self, groups: usize) {
        self.at.resize(groups, NO_ROW);
        if self.timed {
            self.times.resize(groups, 0);
        }
        if groups == 0 {
            self.store.clear();
            self.live = 0;
        }
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = stored::<V>(columns.get(..1).unwrap_or(&[]))?;
        let times = if self.timed { Some(instants(columns, 1)?) } else { None };
        self.take(groups, kept, &column, times.as_deref())
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = columns.first().ok_or_else(|| Error::internal("a partial aggregate without its value"))?;
        let times = if self.timed { Some(state::<arrow_array::types::Int64Type>(columns, 1)?.values()) } else { None };
        self.take(groups, kept, column, times.map(|t| &t[..]))
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut out = vec![self.values(groups)?];
        if self.timed {
            out.push(Arc::new(Int64Array::from(gather(&self.times, groups))));
        }
        Ok(out)
    }
    fn pack(&self, groups: &[u32], piece: &mut Piece<'_>) -> Result<()> {
        self.store.pack(&self.rows(groups), piece)?;
        if self.timed {
            piece.column(&(Arc::new(Int64Array::from(gather(&self.times, groups))) as ArrayRef))?;
        }
        Ok(())
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        Ok(as_type(&self.values(groups)?, &V::data_type())?)
    }
    fn bytes(&self) -> usize {
        self.store.bytes() + self.at.capacity() * 4 + self.times.capacity() * 8
    }
}
