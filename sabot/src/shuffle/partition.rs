//! Partitioning: the rows of a morsel to the instances that own their key groups, which are told by a hash of key columns, or stand in a
//! column.
//!
//! Idea: the key group of each kept row, one byte per row; count the rows of each group; then the row numbers by instance (a counting sort,
//! stable), gather all columns once in that order, and hand out zero-copy slices. The order of rows with equal keys is kept. A morsel
//! whose rows all go to one instance is passed on as it is.
//!
//! Cost: one hash and one gather per kept row and column; no allocation per instance. Counting by group and not by instance keeps the
//! counters of rows that follow each other apart. Keys that are one column of 64-bit integers or times without nulls are hashed as they
//! are counted, without a vector of hashes.

use arrow_array::cast::AsArray;
use arrow_array::types::UInt8Type;
use arrow_array::{Array, RecordBatch, UInt32Array};
use arrow_select::take::take_record_batch;

use crate::kernel::Morsel;
use crate::kernel::hash::{KEY_GROUPS, hash_columns, hash_integer, instance_of, key_group, words_hashed_alone};
use crate::{Error, Result};

/// Key groups that a byte can name.
const GROUPS: usize = KEY_GROUPS as usize;
const _: () = assert!(GROUPS <= 256);

/// Splits morsels over instances by key group.
#[derive(Clone, Debug)]
pub struct Partitioner {
    by: By,
    instances: usize,
    owners: Vec<u32>,
    in_groups: bool,
}

/// How the key group of a row is known.
#[derive(Clone, Debug)]
enum By {
    /// By a hash of these columns.
    Hash(Vec<String>),
    /// It stands in this column.
    Range(String),
}

impl Partitioner {
    /// A partitioner by a hash of `columns` over `instances` instances.
    pub fn new(columns: Vec<String>, instances: usize) -> Self {
        Self::by(By::Hash(columns), instances)
    }
    /// A partitioner by the key group that stands in `column`, a column of bytes without nulls, over `instances` instances.
    pub fn by_range(column: String, instances: usize) -> Self {
        Self::by(By::Range(column), instances)
    }
    fn by(by: By, instances: usize) -> Self {
        let owners = (0..KEY_GROUPS).map(|g| instance_of(g, KEY_GROUPS, instances) as u32).collect();
        Partitioner { by, instances, owners, in_groups: false }
    }
    /// The rows of a piece come by key group, each in order, rather than all in order; not if the whole morsel is passed on as it is.
    #[must_use]
    pub fn in_groups(self) -> Self {
        Partitioner { in_groups: true, ..self }
    }
    /// The pieces of `morsel`, dense, with their instance; at most one per instance, ascending, none empty. Pieces keep
    /// the origin of the whole.
    ///
    /// # Errors
    /// If a column is missing or cannot be a key, or does not hold key groups.
    pub fn split(&self, morsel: Morsel) -> Result<Vec<(usize, Morsel)>> {
        let rows = morsel.rows();
        if rows == 0 {
            return Ok(Vec::new());
        }
        if self.instances == 1 {
            return Ok(vec![(0, morsel)]);
        }
        let kept: Option<Vec<u32>> = morsel.selection.as_ref().map(|s| s.rows().map(|row| row as u32).collect());
        let groups = self.groups(&morsel.batch, kept.as_deref())?;
        let mut counts = [0usize; GROUPS];
        for group in &groups {
            if let Some(n) = counts.get_mut(usize::from(*group) % GROUPS) {
                *n += 1;
            }
        }
        let mut sizes = vec![0usize; self.instances];
        for (owner, count) in self.owners.iter().zip(counts) {
            if let Some(n) = sizes.get_mut(*owner as usize) {
                *n += count;
            }
        }
        if self.in_groups {
            // instances own ranges of key groups, so rows in the order of these are in the order of instances too
            return deal(morsel, kept, groups.iter().map(|group| u32::from(*group)), &counts, &sizes);
        }
        let mut owners = [0u32; GROUPS];
        owners.iter_mut().zip(&self.owners).for_each(|(to, from)| *to = *from);
        let owner = |group: &u8| owners.get(usize::from(*group) % GROUPS).copied().unwrap_or(0);
        deal(morsel, kept, groups.iter().map(owner), &sizes, &sizes)
    }
    /// The key group of each kept row.
    fn groups(&self, batch: &RecordBatch, kept: Option<&[u32]>) -> Result<Vec<u8>> {
        match &self.by {
            By::Hash(columns) => hashed(columns, batch, kept),
            By::Range(column) => ranged(column, batch, kept),
        }
    }
}

/// The pieces of a morsel, by instance, of which each gets so many rows. `bins` are where its kept rows go, and `of` how many go to each:
/// the instances, or parts of these, in their order.
pub(super) fn deal(
    morsel: Morsel,
    kept: Option<Vec<u32>>,
    bins: impl Iterator<Item = u32>,
    of: &[usize],
    sizes: &[usize],
) -> Result<Vec<(usize, Morsel)>> {
    let rows: usize = sizes.iter().sum();
    if let Some(only) = sizes.iter().position(|n| *n == rows) {
        return Ok(vec![(only, morsel)]);
    }
    // the next place of each bin
    let mut places: Vec<u32> = of.iter().scan(0, |start, size| Some(std::mem::replace(start, *start + *size as u32))).collect();
    let mut order = vec![0u32; rows];
    let mut put = |(bin, row): (u32, u32)| {
        let Some(place) = places.get_mut(bin as usize) else { return };
        if let Some(to) = order.get_mut(*place as usize) {
            *to = row;
        }
        *place += 1;
    };
    match kept {
        None => bins.zip(0..).for_each(&mut put),
        Some(kept) => bins.zip(kept).for_each(&mut put),
    }
    let gathered = take_record_batch(&morsel.batch, &UInt32Array::from(order))?;
    let mut pieces = Vec::with_capacity(sizes.len());
    let mut start = 0;
    for (instance, size) in sizes.iter().enumerate().filter(|(_, size)| **size > 0) {
        pieces.push((instance, Morsel::new(gathered.slice(start, *size), morsel.origin)));
        start += size;
    }
    Ok(pieces)
}

/// The key group of each kept row by a hash of these columns.
fn hashed(columns: &[String], batch: &RecordBatch, kept: Option<&[u32]>) -> Result<Vec<u8>> {
    let group = |hash: u64| key_group(hash, KEY_GROUPS) as u8;
    let integers = match columns {
        [one] => batch.column_by_name(one).and_then(|column| words_hashed_alone(column.as_ref())),
        _ => None,
    };
    Ok(match (integers, kept) {
        (Some(keys), None) => keys.iter().map(|key| group(hash_integer(*key))).collect(),
        (Some(keys), Some(kept)) => {
            kept.iter().map(|row| group(hash_integer(keys.get(*row as usize).copied().unwrap_or_default()))).collect()
        }
        (None, kept) => {
            let hashes = hash_columns(batch, columns)?;
            match kept {
                None => hashes.into_iter().map(group).collect(),
                Some(kept) => kept.iter().map(|row| group(hashes.get(*row as usize).copied().unwrap_or_default())).collect(),
            }
        }
    })
}

/// The key group of each kept row, as it stands in this column.
fn ranged(column: &str, batch: &RecordBatch, kept: Option<&[u32]>) -> Result<Vec<u8>> {
    let array = batch
        .column_by_name(column)
        .ok_or_else(|| Error::Plan(format!("column `{column}`, which says where rows go, is not in the stream")))?;
    let groups = array.as_primitive_opt::<UInt8Type>().filter(|a| a.null_count() == 0).ok_or_else(|| {
        Error::Plan(format!("column `{column}`, which says where rows go, is of type {}, not of bytes without nulls", array.data_type()))
    })?;
    let groups: Vec<u8> = match kept {
        None => groups.values().to_vec(),
        Some(kept) => kept.iter().map(|row| groups.values().get(*row as usize).copied().unwrap_or_default()).collect(),
    };
    match groups.iter().find(|g| usize::from(**g) >= GROUPS) {
        Some(group) => Err(Error::internal(format!("column `{column}` holds {group}, and there are {GROUPS} key groups"))),
        None => Ok(groups),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

    use super::*;
    use crate::kernel::{Origin, Selection};

    /// Keys of a kind: integers, times, with nulls, text, and two columns.
    fn keys(kind: usize, keys: &[i64]) -> Vec<(&'static str, ArrayRef)> {
        let plain: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
        match kind {
            0 => vec![("k", plain)],
            1 => vec![("k", Arc::new(TimestampMicrosecondArray::from(keys.to_vec())))],
            2 => vec![("k", Arc::new(keys.iter().map(|k| (k % 5 != 0).then_some(*k)).collect::<Int64Array>()))],
            3 => vec![("k", Arc::new(keys.iter().map(|k| Some(k.to_string())).collect::<StringArray>()))],
            _ => vec![("k", plain), ("l", Arc::new(keys.iter().map(|k| Some(k / 3)).collect::<Int64Array>()))],
        }
    }

    proptest::proptest! {
        #[test]
        fn every_kept_row_goes_to_its_owner_once_and_in_order(
            of_rows in proptest::collection::vec(0i64..50, 0..300),
            keep in proptest::option::of(proptest::collection::vec(proptest::num::u64::ANY, 5)),
            start in 0usize..20,
            kind in 0usize..5,
            instances in 1usize..9,
            in_groups: bool,
        ) {
            let mut columns = keys(kind, &of_rows);
            let names: Vec<String> = columns.iter().map(|c| c.0.to_owned()).collect();
            columns.push(("row", Arc::new((0..of_rows.len() as i64).collect::<Int64Array>())));
            let whole = RecordBatch::try_from_iter(columns).unwrap();
            let hashes = hash_columns(&whole, &names).unwrap();
            // a slice: values do not begin where their buffers do
            let start = start.min(of_rows.len());
            let batch = whole.slice(start, of_rows.len() - start);
            let rows = batch.num_rows();
            let word = |w: usize| if rows - w * 64 >= 64 { u64::MAX } else { (1 << (rows - w * 64)) - 1 };
            let selection = keep.map(|keep| Selection::new((0..rows.div_ceil(64)).map(|w| keep[w] & word(w)).collect::<Vec<u64>>()));
            let mut morsel = Morsel::new(batch, Origin::default());
            morsel.selection = selection.clone();
            let mut got = Vec::new();
            let mut before = None;
            let plain = Partitioner::new(names, instances);
            let all = morsel.rows();
            for (instance, piece) in if in_groups { plain.in_groups() } else { plain }.split(morsel).unwrap() {
                assert!(before.replace(instance).is_none_or(|b| b < instance));
                let dense = piece.compact().unwrap();
                let rows = dense.column_by_name("row").unwrap().as_primitive::<Int64Type>().values().to_vec();
                let by_group = in_groups && rows.len() < all;
                let place = |row: &i64| (if by_group { key_group(hashes[*row as usize], KEY_GROUPS) } else { 0 }, *row);
                assert!(!rows.is_empty() && rows.is_sorted_by_key(place));
                for row in rows {
                    assert_eq!(instance_of(key_group(hashes[row as usize], KEY_GROUPS), KEY_GROUPS, instances), instance);
                    got.push(row as usize - start);
                }
            }
            got.sort_unstable();
            assert_eq!(got, selection.map_or_else(|| (0..rows).collect(), |s| s.rows().collect::<Vec<_>>()));
        }
    }

    proptest::proptest! {
        #[test]
        fn rows_go_where_their_column_says_once_and_in_order(
            groups in proptest::collection::vec(0u8..KEY_GROUPS as u8, 0..300),
            keep in proptest::option::of(proptest::collection::vec(proptest::num::u64::ANY, 5)),
            start in 0usize..20,
            instances in 1usize..200,
        ) {
            let column: ArrayRef = Arc::new(arrow_array::UInt8Array::from(groups.clone()));
            let number: ArrayRef = Arc::new((0..groups.len() as i64).collect::<Int64Array>());
            let whole = RecordBatch::try_from_iter([("to", column), ("row", number)]).unwrap();
            let start = start.min(groups.len());
            let batch = whole.slice(start, groups.len() - start);
            let rows = batch.num_rows();
            let word = |w: usize| if rows - w * 64 >= 64 { u64::MAX } else { (1 << (rows - w * 64)) - 1 };
            let selection = keep.map(|keep| Selection::new((0..rows.div_ceil(64)).map(|w| keep[w] & word(w)).collect::<Vec<u64>>()));
            let mut morsel = Morsel::new(batch, Origin::default());
            morsel.selection = selection.clone();
            let mut got = Vec::new();
            let mut before = None;
            for (instance, piece) in Partitioner::by_range("to".into(), instances).split(morsel).unwrap() {
                assert!(before.replace(instance).is_none_or(|b| b < instance));
                let dense = piece.compact().unwrap();
                let rows = dense.column_by_name("row").unwrap().as_primitive::<Int64Type>().values().to_vec();
                assert!(!rows.is_empty() && rows.is_sorted());
                for row in rows {
                    assert_eq!(instance_of(groups[row as usize].into(), KEY_GROUPS, instances), instance);
                    got.push(row as usize - start);
                }
            }
            got.sort_unstable();
            assert_eq!(got, selection.map_or_else(|| (0..rows).collect(), |s| s.rows().collect::<Vec<_>>()));
        }
    }

    #[test]
    fn a_column_without_key_groups_is_refused() {
        let split = |column: ArrayRef, name: &str| {
            let batch = RecordBatch::try_from_iter_with_nullable([("to", column, true)]).unwrap();
            Partitioner::by_range(name.into(), 3).split(Morsel::new(batch, Origin::default())).map(|_| ()).unwrap_err().to_string()
        };
        let bytes = |values: Vec<Option<u8>>| -> ArrayRef { Arc::new(arrow_array::UInt8Array::from(values)) };
        assert!(split(bytes(vec![Some(1)]), "from").contains("`from`"));
        assert!(split(Arc::new(Int64Array::from(vec![1])), "to").contains("Int64"));
        assert!(split(bytes(vec![Some(1), None]), "to").contains("nulls"));
        assert!(split(bytes(vec![Some(1), Some(128)]), "to").contains("holds 128"));
    }
}
