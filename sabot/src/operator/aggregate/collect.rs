//! Lists of all values of a group.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, ListArray, cast::AsArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};

use super::accumulator::short;
use super::lists::{Lists, items_of, list_column, list_type};
use super::store::{Store, as_type, instants, kept_rows, stored, stored_type};
use super::{Accumulator, AccumulatorFactory, Kind, OverChanges};
use crate::operator::{Failure, Kept};
use crate::record::{List, Value};
use crate::{Error, Result};

/// All values of a group as a list, nulls too: in source order, or, with `timed`, by a second input column that holds event
/// time, then in source order. Over no rows it is null if `nullable`, else the job fails.
pub fn collect<V: Value>(timed: bool, nullable: bool) -> Arc<dyn AccumulatorFactory> {
    Arc::new(CollectFactory::<V> { timed, nullable, kind: PhantomData })
}

struct CollectFactory<V> {
    timed: bool,
    nullable: bool,
    kind: PhantomData<fn() -> V>,
}

impl<V: Value> AccumulatorFactory for CollectFactory<V> {
    fn create(&self) -> Box<dyn Accumulator> {
        let times = self.timed.then(Vec::new);
        Box::new(Collect::<V> { rows: Lists::new(), store: Store::new(stored_type::<V>()), times, kind: PhantomData })
    }
    fn state_fields(&self) -> Vec<Field> {
        let mut fields = vec![Field::new("values", list_type(&stored_type::<V>(), true), false)];
        if self.timed {
            fields.push(Field::new("times", list_type(&DataType::Int64, false), false));
        }
        fields
    }
    fn output(&self) -> (DataType, bool) {
        (List::<V>::data_type(), self.nullable)
    }
    fn inputs(&self) -> usize {
        1 + usize::from(self.timed)
    }
    fn describe(&self) -> String {
        format!("collect({})", short::<V>())
    }
    fn over_changes(&self) -> OverChanges {
        OverChanges::Kept(Kind { first_by: usize::from(self.timed), ..Kind::default() })
    }
}

/// Cost: each value is copied, and its row number (4 bytes) kept; with event time another 8 bytes.
struct Collect<V> {
    /// Rows in the store, per group.
    rows: Lists<u32>,
    store: Store,
    /// Event time of each row of the store.
    times: Option<Vec<i64>>,
    kind: PhantomData<fn() -> V>,
}

impl<V: Value> Collect<V> {
    /// Takes in values with their groups.
    fn take(&mut self, groups: &[u32], values: ArrayRef, times: impl Iterator<Item = i64>) -> Result<()> {
        let base = self.store.rows();
        self.store.push(values)?;
        for (i, group) in groups.iter().enumerate() {
            self.rows.push(*group as usize, (base + i) as u32);
        }
        if let Some(known) = &mut self.times {
            known.extend(times);
        }
        Ok(())
    }
}

impl<V: Value> Accumulator for Collect<V> {
    fn resize(&mut self, groups: usize) {
        self.rows.resize(groups);
        if groups == 0 {
            self.store.clear();
            self.times.iter_mut().for_each(Vec::clear);
        }
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let values = kept_rows(&stored::<V>(columns.get(..1).unwrap_or(&[]))?, kept)?;
        let mut in_order = Vec::new();
        if self.times.is_some() {
            let times = instants(columns, 1)?;
            in_order.reserve(kept.len());
            kept.each(|_, row| in_order.push(times.get(row).copied().unwrap_or_default()));
        }
        Ok(self.take(groups, values, in_order.into_iter())?)
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let (values, of) = items_of(columns, 0, groups, kept)?;
        let times = if self.times.is_some() { Some(items_of(columns, 1, groups, kept)?.0) } else { None };
        let times = match &times {
            Some(times) => times
                .as_primitive_opt::<Int64Type>()
                .map(|t| t.values().to_vec())
                .ok_or_else(|| Error::internal("times of a partial `collect` that are none"))?,
            None => Vec::new(),
        };
        Ok(self.take(&of, values, times.into_iter())?)
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let (rows, lengths) = self.rows.flat(groups);
        let mut out = vec![list_column(self.store.gather(&rows)?, true, lengths.clone())?];
        if let Some(times) = &self.times {
            let times: Vec<i64> = rows.iter().map(|r| times.get(*r as usize).copied().unwrap_or_default()).collect();
            out.push(list_column(Arc::new(Int64Array::from(times)), false, lengths)?);
        }
        Ok(out)
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        let (mut rows, lengths) = self.rows.flat(groups);
        if rows.len() > i32::MAX as usize {
            return Err(Error::Usage("the lists of one result hold more than 2^31 values".into()).into());
        }
        if let Some(times) = &self.times {
            let time = |row: &u32| times.get(*row as usize).copied().unwrap_or_default();
            let mut rest = rows.as_mut_slice();
            for len in &lengths {
                let (list, behind) = std::mem::take(&mut rest).split_at_mut_checked(*len).unwrap_or_default();
                if !list.is_sorted_by_key(time) {
                    list.sort_by_key(time);
                }
                rest = behind;
            }
        }
        let items = as_type(&self.store.gather(&rows)?, &V::data_type())?;
        let field = Arc::new(Field::new_list_field(items.data_type().clone(), V::NULLABLE));
        let nulls = NullBuffer::from_iter(lengths.iter().map(|l| *l > 0));
        let nulls = Some(nulls).filter(|n| n.null_count() > 0);
        let list = ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), items, nulls).map_err(Error::from)?;
        Ok(Arc::new(list))
    }
    fn bytes(&self) -> usize {
        self.rows.bytes() + self.store.bytes() + self.times.as_ref().map_or(0, |t| t.capacity() * 8)
    }
}
