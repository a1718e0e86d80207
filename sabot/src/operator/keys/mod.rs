//! From the values of key columns to dense group numbers, and back.
//!
//! Every key column becomes a code of a few bits: fixed-width values their own bits, text the number of the interned
//! value. The codes of a row are packed into as few 64-bit words as possible (a nullable column takes one bit more); one
//! word is its own key in the hash table, several are compared behind a stored hash. No hash table is needed for a dense range of
//! integers, where the key is an index, nor for one text column, where the number of the value is the group.
//!
//! Cost per row: one pass per column to collect codes, one to hash, one probe, whose memory was asked for before; no
//! allocation.

mod code;
mod dense;
mod intern;
mod slots;
mod table;

pub use table::Keys;
pub(crate) use table::NO_GROUP;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_select::take::take_record_batch;

use crate::Result;
use crate::kernel::hash::{KEY_GROUPS, hash_arrays, key_group};

/// The key group of each row of these key columns, as the exchange computes it; without key columns all rows have one.
///
/// # Errors
/// If a type cannot be a key.
pub(crate) fn key_groups(columns: &[ArrayRef], rows: usize) -> Result<Vec<u16>> {
    let mut hashes = Vec::new();
    hash_arrays(columns.iter(), rows, &mut hashes)?;
    Ok(hashes.into_iter().map(|h| key_group(h, KEY_GROUPS)).collect())
}

/// The rows whose key groups are `mine`, of these key columns.
///
/// # Errors
/// If a type cannot be a key.
pub(crate) fn rows_of(columns: &[ArrayRef], rows: usize, mine: &dyn Fn(u16) -> bool) -> Result<Vec<u32>> {
    Ok(key_groups(columns, rows)?.into_iter().zip(0..).filter(|(group, _)| mine(*group)).map(|(_, row)| row).collect())
}

/// The rows of each key group, in order; `keys` are the key columns of the same rows.
///
/// # Errors
/// If a type cannot be a key.
pub(crate) fn in_key_groups(rows: &RecordBatch, keys: &[ArrayRef]) -> Result<Vec<(u16, RecordBatch)>> {
    let (order, ranges) = by_key_group(&key_groups(keys, rows.num_rows())?);
    let sorted = take_record_batch(rows, &UInt32Array::from(order))?;
    Ok(ranges.into_iter().map(|(group, range)| (group, sorted.slice(range.start, range.len()))).collect())
}

/// The positions `0..groups.len()` ordered by key group, stable, and the ranges of equal key groups in that order.
pub(crate) fn by_key_group(groups: &[u16]) -> (Vec<u32>, Vec<(u16, std::ops::Range<usize>)>) {
    let mut counts = vec![0usize; usize::from(KEY_GROUPS) + 1];
    for g in groups {
        if let Some(c) = counts.get_mut(usize::from(*g)) {
            *c += 1;
        }
    }
    let mut start = 0usize;
    let mut ranges = Vec::new();
    for (g, count) in counts.iter_mut().enumerate() {
        if *count > 0 {
            ranges.push((g as u16, start..start + *count));
        }
        start += std::mem::replace(count, start);
    }
    let mut order = vec![0u32; groups.len()];
    for (i, g) in groups.iter().enumerate() {
        if let Some(at) = counts.get_mut(usize::from(*g)) {
            if let Some(slot) = order.get_mut(*at) {
                *slot = i as u32;
            }
            *at += 1;
        }
    }
    (order, ranges)
}
