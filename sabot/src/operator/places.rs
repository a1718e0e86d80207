//! The order of many rows by the bytes of their sort keys, or by one word each.
//!
//! Keys are byte strings whose order is that of `memcmp` (Arrow's row format). Most of them begin alike (the mark of a
//! value, the upper bytes of small numbers, a prefix of all names), so the eight bytes *behind* what all keys share are
//! taken as each row's head. Heads are sorted as numbers, stably: by counting, a byte at a time from the last (Hollerith's radix
//! sort), and only by as many of the upper bytes as it takes to tell most rows apart. Rows that are not told apart are compared.

use arrow_row::Rows;

use crate::{Error, Result};

/// A row: the head of its sort key, its batch, its number.
pub(super) type Place = (u64, u32, u32);

/// Fewer rows are sorted by comparison: a pass over 256 counters costs as much.
const FEW: usize = 256;
/// Bits beyond those that number the rows, so that about one row in 2^8 shares its upper bits with another one if heads are spread
/// evenly.
const SPARE_BITS: u32 = 8;
/// Passes over the places at most.
const MOST_PASSES: u32 = 4;

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
    by_head(&mut places, &mut Vec::new());
    if longer {
        ties(&mut places, |p| rows.get(p.1 as usize).map(|r| r.row(p.2 as usize)));
    }
    Ok(places)
}

/// Sorts rows of equal heads by their keys.
pub(super) fn ties<K: Ord>(places: &mut [Place], key: impl Fn(&Place) -> K) {
    for equal in places.chunk_by_mut(|a, b| a.0 == b.0).filter(|equal| equal.len() > 1) {
        equal.sort_by_key(&key);
    }
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

/// Sorts by head, stably. `room` is for use by the next call.
pub(super) fn by_head(places: &mut [Place], room: &mut Vec<Place>) {
    let Some(first) = places.first().map(|p| p.0) else { return };
    let (mut least, mut most, mut last, mut sorted) = (first, first, first, true);
    for p in places.iter() {
        (least, most) = (least.min(p.0), most.max(p.0));
        sorted &= last <= p.0;
        last = p.0;
    }
    if sorted {
        return;
    }
    if places.len() < FEW {
        places.sort_by_key(|p| p.0);
        return;
    }
    let bits = 64 - (most - least).leading_zeros();
    let telling = (64 - (places.len() as u64).leading_zeros() + SPARE_BITS).min(bits);
    let passes = telling.div_ceil(8).min(MOST_PASSES);
    let shift = bits.saturating_sub(passes * 8);
    let upper = |p: &Place| (p.0 - least) >> shift;
    let digit = |p: &Place, pass: u32| (upper(p) >> (pass * 8)) as usize & 0xff;

    let mut counts = [[0usize; 256]; MOST_PASSES as usize];
    for p in places.iter() {
        for (pass, counts) in (0..passes).zip(&mut counts) {
            if let Some(n) = counts.get_mut(digit(p, pass)) {
                *n += 1;
            }
        }
    }
    room.clear();
    room.resize(places.len(), Place::default());
    let (mut from, mut to): (&mut [Place], &mut [Place]) = (&mut *places, room.as_mut_slice());
    for (pass, next) in (0..passes).zip(&mut counts) {
        let mut start = 0;
        for n in next.iter_mut() {
            start += std::mem::replace(n, start);
        }
        for p in from.iter() {
            if let Some(n) = next.get_mut(digit(p, pass)) {
                if let Some(slot) = to.get_mut(*n) {
                    *slot = *p;
                }
                *n += 1;
            }
        }
        std::mem::swap(&mut from, &mut to);
    }
    if passes % 2 == 1 {
        places.copy_from_slice(room);
    }
    if shift > 0 {
        for equal in places.chunk_by_mut(|a, b| upper(a) == upper(b)).filter(|equal| equal.len() > 1) {
            equal.sort_by_key(|p| p.0);
        }
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
    fn heads_of_any_spread() {
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 3
        };
        for rows in [0, 1, 2, 255, 256, 300, 5000, 70_000] {
            for mask in [0, 1, 0xff, 0xffff, 0xffff_ff00, u64::MAX >> 3, 0xff00_0000_0000_00ff] {
                for (add, far) in [(0, 0), (1 << 40, 0), (5, u64::MAX)] {
                    let mut places: Vec<Place> = (0..rows).map(|i| ((random() & mask) + add, 0, i)).collect();
                    // one far away from all others
                    if let (Some(p), true) = (places.last_mut(), far > 0) {
                        p.0 = far;
                    }
                    let mut expected = places.clone();
                    expected.sort_by_key(|p| p.0);
                    by_head(&mut places, &mut Vec::new());
                    assert!(places == expected, "{rows} {mask:x} {add}");
                    by_head(&mut places, &mut Vec::new());
                    assert!(places == expected);
                }
            }
        }
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
