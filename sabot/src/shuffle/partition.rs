//! Hash partitioning: the rows of a morsel to the instances that own their key groups.
//!
//! Idea: hash, sort the kept row numbers by instance (a counting sort, stable), gather all columns once in that order,
//! and hand out zero-copy slices. The order of rows with equal keys is kept. A morsel whose rows all go to one
//! instance is passed on as it is.
//!
//! Cost: one hash and one gather per kept row and column; no allocation per instance.

use arrow_array::UInt32Array;
use arrow_select::take::take_record_batch;

use crate::Result;
use crate::kernel::Morsel;
use crate::kernel::hash::{KEY_GROUPS, hash_columns, instance_of, key_group};

/// Splits morsels over instances by the key group of some columns.
#[derive(Clone, Debug)]
pub struct Partitioner {
    columns: Vec<String>,
    instances: usize,
    owners: Vec<u32>,
}

impl Partitioner {
    /// A partitioner by `columns` over `instances` instances.
    pub fn new(columns: Vec<String>, instances: usize) -> Self {
        let owners = (0..KEY_GROUPS).map(|g| instance_of(g, KEY_GROUPS, instances) as u32).collect();
        Partitioner { columns, instances, owners }
    }
    /// The pieces of `morsel`, dense, with their instance; at most one per instance, ascending, none empty. Pieces keep
    /// the origin of the whole.
    ///
    /// # Errors
    /// If a key column is missing or cannot be a key.
    pub fn split(&self, morsel: Morsel) -> Result<Vec<(usize, Morsel)>> {
        if morsel.rows() == 0 {
            return Ok(Vec::new());
        }
        if self.instances == 1 {
            return Ok(vec![(0, morsel)]);
        }
        let hashes = hash_columns(&morsel.batch, &self.columns)?;
        let owner = |h: &u64| self.owners.get(usize::from(key_group(*h, KEY_GROUPS))).copied().unwrap_or(0);
        // (instance, row) of the kept rows, ascending by row.
        let placed: Vec<(u32, u32)> = match &morsel.selection {
            None => hashes.iter().zip(0..).map(|(h, row)| (owner(h), row)).collect(),
            Some(s) => s.rows().filter_map(|row| hashes.get(row).map(|h| (owner(h), row as u32))).collect(),
        };
        let mut ends = vec![0usize; self.instances];
        for (instance, _) in &placed {
            if let Some(n) = ends.get_mut(*instance as usize) {
                *n += 1;
            }
        }
        if let Some(only) = ends.iter().position(|n| *n == placed.len()) {
            return Ok(vec![(only, morsel)]);
        }
        let sizes = ends.clone();
        let mut start = 0;
        for end in &mut ends {
            start += std::mem::replace(end, start);
        }
        let mut order = vec![0u32; placed.len()];
        for (instance, row) in placed {
            if let Some(next) = ends.get_mut(instance as usize) {
                if let Some(place) = order.get_mut(*next) {
                    *place = row;
                }
                *next += 1;
            }
        }
        let gathered = take_record_batch(&morsel.batch, &UInt32Array::from(order))?;
        let pieces = sizes.iter().zip(&ends).enumerate().filter(|(_, (size, _))| **size > 0);
        Ok(pieces.map(|(i, (&size, &end))| (i, Morsel::new(gathered.slice(end - size, size), morsel.origin))).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};

    use super::*;
    use crate::kernel::hash::hash_integer;
    use crate::kernel::{Origin, Selection};

    proptest::proptest! {
        #[test]
        fn every_kept_row_goes_to_its_owner_once_and_in_order(keys in proptest::collection::vec(0i64..50, 0..300), keep in proptest::collection::vec(proptest::num::u64::ANY, 5), instances in 1usize..9) {
            let rows: Vec<i64> = (0..keys.len() as i64).collect();
            let columns: Vec<(&str, ArrayRef)> = vec![("k", Arc::new(Int64Array::from(keys.clone()))), ("row", Arc::new(Int64Array::from(rows)))];
            let words: Vec<u64> = (0..keys.len().div_ceil(64)).map(|w| keep[w] & if keys.len() - w * 64 >= 64 { u64::MAX } else { (1 << (keys.len() - w * 64)) - 1 }).collect();
            let selection = Selection::new(words);
            let mut morsel = Morsel::new(RecordBatch::try_from_iter(columns).unwrap(), Origin::default());
            morsel.selection = Some(selection.clone());
            let mut got = Vec::new();
            for (instance, piece) in Partitioner::new(vec!["k".into()], instances).split(morsel).unwrap() {
                let dense = piece.compact().unwrap();
                let rows = dense.column(1).as_primitive::<Int64Type>().values().to_vec();
                assert!(!rows.is_empty() && rows.is_sorted());
                for row in rows {
                    assert_eq!(instance_of(key_group(hash_integer(keys[row as usize]), KEY_GROUPS), KEY_GROUPS, instances), instance);
                    got.push(row as usize);
                }
            }
            got.sort_unstable();
            assert_eq!(got, selection.rows().collect::<Vec<_>>());
        }
    }
}
