//! Rows on their way out in the order of key groups.
//!
//! Behind a hash exchange the order of arrival depends on the number of instances; within a key group it does not. So an
//! operator that keeps whole rows sends them with an origin of its own: the key group as split, numbered from zero.
//! Whoever restores order then sees the same rows in the same order on any number of threads.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use arrow_select::interleave::interleave_record_batch;

use super::keys::by_key_group;
use super::{Account, Output};
use crate::kernel::hash::KEY_GROUPS;
use crate::kernel::{Morsel, Origin};
use crate::{Error, Result};

/// Rows that are collected before they are sent: some hundred per key group.
const BLOCK: usize = 1 << 16;

/// Rows that wait, and how many each key group has sent.
#[derive(Debug)]
pub(super) struct ByGroup {
    node: u32,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    groups: Vec<u16>,
    emitted: Vec<u64>,
}

impl ByGroup {
    /// For plan node `node`, whose rows have this schema.
    pub(super) fn new(node: u32, schema: &SchemaRef) -> Self {
        let emitted = vec![0; usize::from(KEY_GROUPS)];
        ByGroup { node, schema: Arc::clone(schema), batches: Vec::new(), groups: Vec::new(), emitted }
    }
    /// Adds dense rows with their key groups; enough of them are sent.
    pub(super) fn add(&mut self, batch: RecordBatch, groups: &[u16], out: &mut dyn Output) -> Result<()> {
        out.account(Account { held: groups.len() as i64, ..Account::default() });
        self.put(batch, groups)?;
        if self.enough() { self.flush(out) } else { Ok(()) }
    }
    /// Whether so many rows wait that they should be sent.
    pub(super) fn enough(&self) -> bool {
        self.groups.len() >= BLOCK
    }
    /// Adds rows that were counted before.
    pub(super) fn put(&mut self, batch: RecordBatch, groups: &[u16]) -> Result<()> {
        if !groups.is_empty() {
            self.batches.push(as_declared(batch, &self.schema)?);
            self.groups.extend_from_slice(groups);
        }
        Ok(())
    }
    /// Sends all rows, and counts them.
    pub(super) fn flush(&mut self, out: &mut dyn Output) -> Result<()> {
        let rows = self.groups.len();
        self.send(out)?;
        out.account(Account { used: rows as u64, held: -(rows as i64), ..Account::default() });
        Ok(())
    }
    /// Sends all rows.
    pub(super) fn send(&mut self, out: &mut dyn Output) -> Result<()> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let (order, ranges) = by_key_group(&self.groups);
        let sorted = self.gather(&order)?;
        for (group, range) in ranges {
            let Some(emitted) = self.emitted.get_mut(usize::from(group)) else { continue };
            let origin = Origin { source: self.node, partition: 0, split: u64::from(group), row: *emitted };
            *emitted += range.len() as u64;
            out.emit(Morsel::new(sorted.slice(range.start, range.len()), origin));
        }
        self.batches.clear();
        self.groups.clear();
        Ok(())
    }
    /// The rows with these numbers.
    fn gather(&self, order: &[u32]) -> Result<RecordBatch> {
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(self.groups.len());
        for (n, batch) in self.batches.iter().enumerate() {
            places.extend((0..batch.num_rows()).map(|row| (n, row)));
        }
        let at: Vec<(usize, usize)> = order.iter().filter_map(|i| places.get(*i as usize)).copied().collect();
        gather(&self.schema, &self.batches, &at)
    }
    /// The key groups of rows that wait.
    pub(super) fn groups(&self) -> std::collections::BTreeSet<u16> {
        self.groups.iter().copied().collect()
    }
    /// The rows that wait and belong to `group`.
    pub(super) fn waiting(&self, group: u16) -> Result<RecordBatch> {
        let rows: Vec<u32> = self.groups.iter().zip(0..).filter(|(g, _)| **g == group).map(|(_, i)| i).collect();
        self.gather(&rows)
    }
    /// Rows that each key group has sent.
    pub(super) fn emitted(&self) -> &[u64] {
        &self.emitted
    }
    /// Sets the number of rows that a key group has sent.
    pub(super) fn set_emitted(&mut self, group: u16, rows: u64) {
        self.emitted.iter_mut().skip(usize::from(group)).take(1).for_each(|e| *e = rows);
    }
    /// Gives up a key group.
    pub(super) fn release(&mut self, group: u16) -> Result<()> {
        let rows: Vec<u32> = self.groups.iter().zip(0..).filter(|(g, _)| **g != group).map(|(_, i)| i).collect();
        let (batch, groups) = (self.gather(&rows)?, self.groups.iter().copied().filter(|g| *g != group).collect::<Vec<_>>());
        self.batches = vec![batch];
        self.groups = groups;
        self.set_emitted(group, 0);
        Ok(())
    }
    /// A cheap copy.
    pub(super) fn cut(&self) -> ByGroup {
        ByGroup {
            node: self.node,
            schema: Arc::clone(&self.schema),
            batches: self.batches.clone(),
            groups: self.groups.clone(),
            emitted: self.emitted.clone(),
        }
    }
    pub(super) fn bytes(&self) -> usize {
        self.batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>() + self.groups.capacity() * 2
    }
}

/// Rows of several batches, by batch and row.
pub(super) fn gather(schema: &SchemaRef, batches: &[RecordBatch], at: &[(usize, usize)]) -> Result<RecordBatch> {
    let refs: Vec<&RecordBatch> = batches.iter().collect();
    if at.is_empty() || schema.fields().is_empty() {
        let columns = schema.fields().iter().map(|f| arrow_array::new_empty_array(f.data_type())).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(at.len()));
        return Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?);
    }
    Ok(interleave_record_batch(&refs, at)?)
}

/// The batch with the declared schema: batches of several files may differ in metadata, not in types.
pub(super) fn as_declared(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)
        .map_err(|e| Error::Plan(format!("the rows of a step do not have the declared columns: {e}")))
}
