//! Key groups of a final aggregate that are on disk.
//!
//! Idea: when memory is short, the states of the largest key groups are written out; partial rows that come for them later are
//! not merged but written behind, in order. At the end each key group is read back and merged exactly as it would have been
//! in memory: the states first, then the rows, one after the other. So neither a sum of floats nor the order of groups changes.
//! A key group that is divided has a number on every row that tells the order of appearance, by which the results are
//! merged again.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{RecordBatch, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, SchemaRef};
use arrow_select::take::take_record_batch;

use super::cut::with_rows;
use super::window::words;
use crate::operator::Kept;
use crate::operator::kept::batch_with;
use crate::operator::spill::{Memory, Part, Parts};
use crate::{Error, Result};

/// The number of a row in its key group.
pub(super) const NUMBER: &str = "sabot.number";

pub(super) struct Disk {
    pub(super) parts: Parts,
    /// Position of `window_start`, if windowed.
    window: Option<usize>,
    /// No row on disk is of an earlier window.
    pub(super) earliest: i64,
}

impl Disk {
    pub(super) fn new(memory: &Memory, keys: usize, windowed: bool) -> Result<Self> {
        Ok(Disk { parts: Parts::new(memory, (0..keys).collect())?, window: windowed.then_some(keys), earliest: i64::MAX })
    }
    fn see(&mut self, batch: &RecordBatch) -> Result<()> {
        if let Some(starts) = self.window.and_then(|at| batch.columns().get(at)) {
            self.earliest = words(starts)?.iter().copied().fold(self.earliest, i64::min);
        }
        Ok(())
    }
    /// Writes states of a key group, which from now on is on disk. The batch is as [`with_rows`] makes it.
    pub(super) fn write(&mut self, group: u16, batch: &RecordBatch) -> Result<()> {
        self.see(batch)?;
        self.parts.write(group, batch)
    }
    /// Takes the partial rows of key groups that are on disk; returns the others.
    pub(super) fn divert(&mut self, batch: &RecordBatch, kept: Kept<'_>) -> Result<Vec<u32>> {
        let (goes, stays) = self.parts.sort_out(batch, kept)?;
        if !goes.is_empty() {
            let rows = vec![1; goes.len()];
            let batch = with_rows(&take_record_batch(batch, &UInt32Array::from(goes))?, rows)?;
            self.see(&batch)?;
            self.parts.push(&batch)?;
        }
        Ok(stays)
    }
    /// Takes the rows of windows that are over off; the others stay.
    pub(super) fn take_until(&mut self, group: u16, is_over: &dyn Fn(i64) -> bool) -> Result<Part> {
        let all = self.parts.take(group);
        // later rows of it belong on disk, even if there are none now
        self.parts.open(group);
        let mut closed = Part { file: all.file.clone(), blocks: Vec::new() };
        for block in &all.blocks {
            let batch = all.file.read(block)?;
            let starts = self.window.and_then(|at| batch.columns().get(at));
            let starts = starts.ok_or_else(|| Error::internal("a partial aggregate without its window"))?;
            let (mut over, mut open) = (Vec::new(), Vec::new());
            for (start, row) in words(starts)?.iter().zip(0u32..) {
                if is_over(*start) { over.push(row) } else { open.push(row) }
            }
            if !over.is_empty() {
                closed.blocks.push(self.parts.append(&take_record_batch(&batch, &UInt32Array::from(over))?)?);
            }
            if !open.is_empty() {
                self.write(group, &take_record_batch(&batch, &UInt32Array::from(open))?)?;
            }
        }
        Ok(closed)
    }
}

/// Divides the rows of a part; rows without numbers get them.
pub(super) fn divide(part: &Part, memory: &Memory, fields: usize, depth: usize) -> Result<Vec<Part>> {
    let mut number = 0u64;
    part.divide(memory, &(0..fields).collect::<Vec<_>>(), depth, |batch| {
        if batch.schema_ref().index_of(NUMBER).is_ok() {
            return Ok(batch);
        }
        let end = number + batch.num_rows() as u64;
        let numbers: UInt64Array = (number..end).collect();
        number = end;
        batch_with(&batch, Field::new(NUMBER, DataType::UInt64, false), Arc::new(numbers))
    })
}

/// A batch without its numbers, and the numbers, if it has them.
pub(super) fn numbers(batch: RecordBatch, schema: &SchemaRef) -> Result<(RecordBatch, Option<Vec<u64>>)> {
    let Ok(at) = batch.schema_ref().index_of(NUMBER) else { return Ok((batch, None)) };
    let numbers = batch.columns().get(at).and_then(|c| c.as_primitive_opt::<UInt64Type>()).map(|c| c.values().to_vec());
    let rest: Vec<usize> = (0..=schema.fields().len()).collect();
    Ok((batch.project(&rest)?, numbers))
}
