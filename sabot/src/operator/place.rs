//! The place of each row in the order before an edge that deals rows out (`partition_by`, `rebalance`).
//!
//! Pieces of one morsel go to several instances there, and morsels of one split: origins alone do not tell their order any more. So where
//! rows end, the edge gives each row its place, a hidden column that row-wise steps hand on, and the next gate that restores
//! source order merges by it and drops it. What follows sees the morsels that came to the edge, less the rows that were dropped in between.
//!
//! A place is a number of 128 bits: the morsel's first row (48 bits), the instance that brings it (16), the attempt of the job (24),
//! and the number of the row among those that this instance has brought (40). This is the order in which a gate in the edge's place
//! would deliver: by row, instance, and arrival. Rows that all come from one instance are in the order of arrival, which need not be that of
//! their rows, so for them the first part is zero. The attempt keeps rows that were in flight at a checkpoint before those that follow.

use std::sync::Arc;

use arrow_array::types::Decimal128Type;
use arrow_array::{ArrayRef, Decimal128Array, RecordBatch, cast::AsArray};

use super::weights::Carried;
use crate::Result;
use crate::kernel::{Morsel, PLACE};

/// Digits of the column's type; its values are 128 bits whatever it says.
const DIGITS: u8 = 38;
const ROW_BITS: u32 = 48;
const ATTEMPT_BITS: u32 = 24;
const NUMBER_BITS: u32 = 40;

/// Gives the rows of one producer instance their places.
#[derive(Debug)]
pub struct Places {
    /// Whether rows come in the order of their numbers, or else of arrival.
    by_row: bool,
    producer: u64,
    attempt: u64,
    next: u64,
    carried: Carried,
}

impl Places {
    /// Of the instance `producer`, one of several or the reader of splits (`by_row`), or the only one; in attempt `attempt` of the job.
    pub fn new(by_row: bool, producer: usize, attempt: u64) -> Self {
        Places { by_row, producer: producer as u64, attempt, next: 0, carried: Carried::default() }
    }
    /// The rows with their places; those that have some from an edge before keep them.
    ///
    /// # Errors
    /// If Arrow refuses: a bug.
    pub fn give(&mut self, morsel: Morsel) -> Result<Morsel> {
        if morsel.batch.column_by_name(PLACE).is_some() {
            return Ok(morsel);
        }
        let rows = morsel.batch.num_rows();
        let bits = |value: u64, bits: u32| i128::from(value & ((1 << bits) - 1));
        let row = if self.by_row { bits(morsel.origin.row, ROW_BITS - 1) } else { 0 };
        let whole = ((row << 16 | bits(self.producer, 16)) << ATTEMPT_BITS | bits(self.attempt, ATTEMPT_BITS)) << NUMBER_BITS;
        let first = whole | bits(self.next, NUMBER_BITS);
        self.next += rows as u64;
        let places: Decimal128Array = (first..first + rows as i128).collect::<Vec<i128>>().into();
        let places: ArrayRef = Arc::new(places.with_precision_and_scale(DIGITS, 0)?);
        Ok(Morsel { batch: self.carried.with_places(morsel.batch, places)?, ..morsel })
    }
}

/// The places of the rows of a batch, if they were dealt out.
pub(crate) fn places(batch: &RecordBatch) -> Option<&[i128]> {
    batch.column_by_name(PLACE)?.as_primitive_opt::<Decimal128Type>().map(|p| p.values().as_ref())
}

/// The batch without places.
pub(crate) fn without_places(batch: &RecordBatch) -> Result<RecordBatch> {
    let others: Vec<usize> = batch.schema_ref().fields().iter().enumerate().filter(|(_, f)| f.name() != PLACE).map(|(at, _)| at).collect();
    Ok(batch.project(&others)?)
}
