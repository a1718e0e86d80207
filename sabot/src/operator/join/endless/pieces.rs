//! Rows that are kept: batches one behind the other, whose rows are numbered through.
//!
//! Small batches are put together as they come, each row a logarithmic number of times, so that a source of single rows costs no
//! batch per row.

use arrow_array::RecordBatch;

use crate::record::{bytes_of, own};
use crate::{Error, Result};

/// Batches are put together up to this many rows.
const PIECE: usize = 1 << 16;

/// Batches of one schema.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces {
    batches: Vec<RecordBatch>,
    /// Number of each batch's first row, and its bytes.
    starts: Vec<u32>,
    bytes: Vec<usize>,
    rows: u32,
    /// Rows up to here are in the layers of checkpoints.
    written: u32,
}

impl Pieces {
    /// Adds the rows of a batch, which is copied if it keeps other memory alive. Returns the number of the first.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<u32> {
        let first = self.rows;
        let too_many = || Error::Plan("a side of a join keeps more than 2^32 rows in one stretch of time on one instance".into());
        self.rows = u32::try_from(batch.num_rows()).ok().and_then(|n| first.checked_add(n)).ok_or_else(too_many)?;
        self.add(first, own(batch)?);
        while let [.., a, b] = self.batches.as_slice() {
            if b.num_rows() * 2 < a.num_rows() || a.num_rows() + b.num_rows() > PIECE {
                break;
            }
            let one = own(&arrow_select::concat::concat_batches(&a.schema(), [a, b])?)?;
            let mut start = first;
            for _ in 0..2 {
                self.batches.pop();
                self.bytes.pop();
                start = self.starts.pop().unwrap_or_default();
            }
            self.add(start, one);
        }
        Ok(first)
    }
    fn add(&mut self, start: u32, batch: RecordBatch) {
        self.bytes.push(bytes_of(&batch));
        self.starts.push(start);
        self.batches.push(batch);
    }
    /// The batches, in order.
    pub(super) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }
    /// Number of rows.
    pub(super) fn rows(&self) -> u32 {
        self.rows
    }
    /// Batch and row of a row.
    pub(super) fn place(&self, row: u32) -> (usize, usize) {
        let batch = self.starts.partition_point(|start| *start <= row).saturating_sub(1);
        (batch, (row - self.starts.get(batch).copied().unwrap_or_default()) as usize)
    }
    /// A cut is made: how many rows layers do not hold (or all), and batches of these. From here on they do.
    pub(super) fn unwritten(&mut self, all: bool) -> (u32, Vec<RecordBatch>) {
        let from = if all { 0 } else { self.written };
        self.written = self.rows;
        let behind = |(start, batch): (&u32, &RecordBatch)| {
            let skip = (from.saturating_sub(*start) as usize).min(batch.num_rows());
            (skip < batch.num_rows()).then(|| batch.slice(skip, batch.num_rows() - skip))
        };
        (self.rows - from, self.starts.iter().zip(&self.batches).filter_map(behind).collect())
    }
    /// Whether there are rows that layers do not hold.
    pub(super) fn grown(&self) -> bool {
        self.written < self.rows
    }
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.iter().sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int64Array, cast::AsArray, types::Int64Type};
    use std::sync::Arc;

    #[test]
    fn rows_keep_their_numbers() {
        let mut pieces = Pieces::default();
        let (mut next, mut cut) = (0i64, 0);
        for rows in [1usize, 1, 1, 5, 1, 40_000, 3, 40_000, 1, 1, 1] {
            let column: ArrayRef = Arc::new((next..next + rows as i64).collect::<Int64Array>());
            assert_eq!(i64::from(pieces.push(&RecordBatch::try_from_iter([("n", column)]).unwrap()).unwrap()), next);
            next += rows as i64;
            if rows != 5 {
                let (new, batches) = pieces.unwritten(false);
                let written: Vec<i64> = batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
                assert_eq!((i64::from(new), written), (next - cut, (cut..next).collect()));
                cut = next;
            }
            assert_eq!(pieces.grown(), cut < next);
        }
        assert_eq!(pieces.unwritten(false).0, 0);
        assert_eq!(i64::from(pieces.unwritten(true).0), next);
        assert_eq!(i64::from(pieces.rows()), next);
        assert!(pieces.batches().len() < 8, "{} batches", pieces.batches().len());
        for row in 0..pieces.rows() {
            let (batch, at) = pieces.place(row);
            assert_eq!(pieces.batches()[batch].column(0).as_primitive::<Int64Type>().value(at), i64::from(row));
        }
        assert!(pieces.bytes() >= 8 * next as usize);
    }
}
