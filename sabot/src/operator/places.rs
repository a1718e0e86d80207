//! The order of many rows by the bytes of their sort keys.
//!
//! Keys are byte strings whose order is that of `memcmp` (Arrow's row format). Most of them begin alike (the mark of a
//! value, the upper bytes of small numbers, a prefix of all names), so the eight bytes *behind* what all keys share are
//! taken as each row's head. Heads are sorted as numbers: by counting, a byte at a time from the last (Hollerith's radix
//! sort), where few bytes differ; else by comparison, which finds runs that are sorted already. Both are stable. Only
//! rows with equal heads and longer keys are compared as bytes.

use arrow_row::Rows;

use crate::{Error, Result};

/// A row: the head of its sort key, its batch, its number.
pub(super) type Place = (u64, u32, u32);

/// Fewer rows are sorted by comparison: a pass over 256 counters costs as much.
const FEW: usize = 4096;
/// Bytes of the heads that may differ for sorting by counting: four passes over the places cost less than comparisons.
const MOST_BYTES: usize = 4;

/// The places of all rows in sorted order; equal rows stay in order of batch and row.
pub(super) fn sorted(rows: &[Rows]) -> Result<Vec<Place>> {
    let shared = shared(rows);
    let mut places: Vec<Place> = Vec::with_capacity(rows.iter().map(Rows::num_rows).sum());
    let mut longer = false;
    for (batch, rows) in (0u32..).zip(rows) {
        let count = u32::try_from(rows.num_rows()).map_err(|_| Error::internal("a batch of more than 2^32 rows"))?;
        for (row, key) in (0..count).zip(rows.iter()) {
            let key = key.data().get(shared..).unwrap_or(&[]);
            longer |= key.len() > 8;
            places.push((head(key), batch, row));
        }
    }
    by_head(&mut places);
    if longer {
        let key = |place: &Place| rows.get(place.1 as usize).map(|r| r.row(place.2 as usize));
        for equal in places.chunk_by_mut(|a, b| a.0 == b.0).filter(|equal| equal.len() > 1) {
            equal.sort_by(|a, b| key(a).cmp(&key(b)));
        }
    }
    Ok(places)
}

/// Length of the prefix that all keys share.
fn shared(rows: &[Rows]) -> usize {
    let mut all = rows.iter().flat_map(|rows| rows.iter());
    let Some(first) = all.next() else { return 0 };
    let first = first.data();
    let mut len = first.len();
    for row in all {
        let row = row.data();
        if row.get(..len) != first.get(..len) {
            len = row.iter().zip(first).take_while(|(a, b)| a == b).count();
        }
    }
    len
}

/// The first eight bytes, such that the order of heads never contradicts the order of rows.
#[inline(always)]
pub(super) fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut out = [0u8; 8];
            out.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            u64::from_be_bytes(out)
        }
    }
}

/// Sorts by head, stably.
fn by_head(places: &mut Vec<Place>) {
    let first = places.first().map_or(0, |p| p.0);
    let differ = places.iter().fold(0, |bits, p| bits | (p.0 ^ first));
    let bytes: Vec<u32> = (0..8).map(|byte| byte * 8).filter(|shift| (differ >> shift) & 0xff != 0).collect();
    if places.len() < FEW || bytes.len() > MOST_BYTES {
        places.sort_by_key(|p| p.0);
        return;
    }
    let mut other: Vec<Place> = vec![Place::default(); places.len()];
    for shift in bytes {
        let digit = |p: &Place| (p.0 >> shift) as usize & 0xff;
        let mut next = [0usize; 256];
        for p in places.iter() {
            if let Some(n) = next.get_mut(digit(p)) {
                *n += 1;
            }
        }
        let mut start = 0;
        for n in &mut next {
            start += std::mem::replace(n, start);
        }
        for p in places.iter() {
            if let Some(n) = next.get_mut(digit(p)) {
                if let Some(slot) = other.get_mut(*n) {
                    *slot = *p;
                }
                *n += 1;
            }
        }
        std::mem::swap(places, &mut other);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use arrow_row::{RowConverter, SortField};
    use arrow_schema::{DataType, SortOptions};

    use super::*;

    /// Sorted as by comparing whole keys, stably, whatever they share and however far they differ.
    fn check(columns: &[Vec<ArrayRef>], types: &[DataType], descending: bool) {
        let options = SortOptions { descending, nulls_first: true };
        let converter = RowConverter::new(types.iter().map(|t| SortField::new_with_options(t.clone(), options)).collect()).unwrap();
        let rows: Vec<Rows> = columns.iter().map(|c| converter.convert_columns(c).unwrap()).collect();
        let mut expected: Vec<(u32, u32)> = (0u32..).zip(&rows).flat_map(|(b, r)| (0..r.num_rows() as u32).map(move |i| (b, i))).collect();
        expected.sort_by_key(|(b, i)| rows[*b as usize].row(*i as usize));
        let got: Vec<(u32, u32)> = sorted(&rows).unwrap().into_iter().map(|p| (p.1, p.2)).collect();
        assert!(got == expected);
    }

    #[test]
    fn as_by_comparison() {
        let mut state = 42u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for (rows, below) in [(0, 1), (1, 1), (50, 10), (6000, 3), (6000, 300), (9000, u64::MAX >> 40)] {
            let mut batch = || -> Vec<ArrayRef> {
                let numbers: Vec<Option<i64>> = (0..rows).map(|_| Some(random(below) as i64 - 40).filter(|n| n % 11 != 0)).collect();
                let names: Vec<String> = (0..rows).map(|_| format!("a prefix that all share {}", random(below))).collect();
                let short: Vec<String> = (0..rows).map(|_| "x".repeat(random(4) as usize)).collect();
                vec![Arc::new(Int64Array::from(numbers)), Arc::new(StringArray::from(names)), Arc::new(StringArray::from(short))]
            };
            let batches = [batch(), batch(), batch()];
            for descending in [false, true] {
                for picked in [&[0][..], &[1], &[2], &[0, 1], &[2, 0]] {
                    let pick = |b: &Vec<ArrayRef>| picked.iter().map(|i| Arc::clone(&b[*i])).collect::<Vec<_>>();
                    let types: Vec<DataType> = pick(&batches[0]).iter().map(|a| a.data_type().clone()).collect();
                    check(&batches.iter().map(pick).collect::<Vec<_>>(), &types, descending);
                }
            }
        }
    }
}
