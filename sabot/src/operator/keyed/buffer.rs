//! Rows that wait for the watermark.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use arrow_select::interleave::interleave_record_batch;

use crate::kernel::Origin;
use crate::operator::EventTime;
use crate::operator::kept::no_column;
use crate::operator::keys::by_key_group;
use crate::{Error, Result};

/// Rows delivered at a time.
pub(super) const PIECE: usize = 8192;

/// A buffered row. Field order is delivery order: by key group, then event time, then position in the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) group: u16,
    pub(super) time: EventTime,
    /// The row's own position.
    pub(super) origin: Origin,
    pub(super) batch: u32,
    pub(super) row: u32,
}

#[derive(Debug)]
pub(super) struct Buffer {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    entries: Vec<Entry>,
    /// Rows in `batches`, delivered ones included.
    rows: usize,
    earliest: Option<EventTime>,
}

impl Buffer {
    pub(super) fn new(column: Option<&str>, schema: &SchemaRef, step: &str) -> Result<Self> {
        if let Some(column) = column {
            let field = schema.field_with_name(column).map_err(|_| no_column(column, step))?;
            if !matches!(field.data_type(), DataType::Timestamp(..)) {
                return Err(Error::Plan(format!(
                    "`{step}` needs a timestamp as event time, but column `{column}` is {}",
                    field.data_type()
                )));
            }
        }
        Ok(Buffer { schema: Arc::clone(schema), batches: Vec::new(), entries: Vec::new(), rows: 0, earliest: None })
    }
    /// Adds rows; the entries' batch numbers are set here.
    pub(super) fn push(&mut self, batch: RecordBatch, entries: Vec<Entry>) {
        let number = self.batches.len() as u32;
        self.rows += batch.num_rows();
        self.batches.push(batch);
        self.earliest = entries.iter().map(|e| e.time).chain(self.earliest).min();
        self.entries.extend(entries.into_iter().map(|e| Entry { batch: number, ..e }));
    }
    pub(super) fn earliest(&self) -> Option<EventTime> {
        self.earliest
    }
    /// Takes out the rows before `until` (all of them at the end of time), in delivery order.
    pub(super) fn due(&mut self, until: EventTime) -> Vec<Entry> {
        if until < EventTime::MAX && self.earliest.is_none_or(|earliest| earliest >= until) {
            return Vec::new();
        }
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.entries).into_iter().partition(|e| e.time < until || until == EventTime::MAX);
        self.earliest = later.iter().map(|e| e.time).min();
        self.entries = later;
        by_group(&due)
    }
    pub(super) fn gather(&self, entries: &[Entry]) -> Result<RecordBatch> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let at: Vec<(usize, usize)> = entries.iter().map(|e| (e.batch as usize, e.row as usize)).collect();
        if batches.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        Ok(interleave_record_batch(&batches, &at)?)
    }
    /// Drops delivered rows, once they are the majority.
    pub(super) fn settle(&mut self) -> Result<()> {
        if self.entries.len() * 2 > self.rows {
            return Ok(());
        }
        let kept = self.gather(&self.entries)?;
        self.batches.clear();
        self.rows = kept.num_rows();
        for (row, entry) in (0u32..).zip(&mut self.entries) {
            (entry.batch, entry.row) = (0, row);
        }
        if self.rows > 0 {
            self.batches.push(kept);
        }
        Ok(())
    }
    pub(super) fn release(&mut self, group: u16) {
        self.entries.retain(|e| e.group != group);
        self.earliest = self.entries.iter().map(|e| e.time).min();
    }
    pub(super) fn bytes(&self) -> usize {
        self.batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>() + self.entries.capacity() * size_of::<Entry>()
    }
    /// A cheap copy.
    pub(super) fn cut(&self) -> Buffer {
        Buffer {
            schema: Arc::clone(&self.schema),
            batches: self.batches.clone(),
            entries: self.entries.clone(),
            rows: self.rows,
            earliest: self.earliest,
        }
    }
    /// The rows of a key group.
    pub(super) fn group(&self, group: u16) -> Vec<Entry> {
        self.entries.iter().filter(|e| e.group == group).copied().collect()
    }
    pub(super) fn groups(&self) -> std::collections::BTreeSet<u16> {
        self.entries.iter().map(|e| e.group).collect()
    }
}

/// The entries in delivery order. Rows mostly come in order of time, so they are dealt out by key group first, and only a group that is
/// not in order is sorted.
fn by_group(entries: &[Entry]) -> Vec<Entry> {
    let groups: Vec<u16> = entries.iter().map(|e| e.group).collect();
    let (order, ranges) = by_key_group(&groups);
    let mut out: Vec<Entry> = order.iter().filter_map(|i| entries.get(*i as usize).copied()).collect();
    for (_, range) in ranges {
        if let Some(group) = out.get_mut(range).filter(|g| !g.is_sorted()) {
            group.sort_unstable();
        }
    }
    out
}
