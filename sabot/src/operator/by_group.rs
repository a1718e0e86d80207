//! Rows on their way out in the order of key groups.
//!
//! Behind a hash exchange the order of arrival depends on the number of instances; within a key group it does not. So an
//! operator that keeps whole rows sends them with an origin of its own: the key group as split, numbered from zero.
//! Whoever restores order then sees the same rows in the same order on any number of threads.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::interleave::interleave_record_batch;
use arrow_select::take::take_record_batch;

use super::keys::by_key_group;
use super::{Account, Output};
use crate::kernel::hash::KEY_GROUPS;
use crate::kernel::{Morsel, Origin};
use crate::{Error, Result};

/// Rows that are collected before they are sent: some hundred per key group.
const BLOCK: usize = 1 << 16;

/// Rows of which those of a key group stand together.
#[derive(Clone, Debug)]
struct Grouped {
    batch: RecordBatch,
    /// The key groups, ascending, and where their rows are.
    runs: Vec<(u16, Range<usize>)>,
}

/// Rows that wait, and how many each key group has sent. A clone is cheap: rows are shared.
#[derive(Clone, Debug)]
pub(super) struct ByGroup {
    node: u32,
    schema: SchemaRef,
    waiting: Vec<Grouped>,
    rows: usize,
    emitted: Vec<u64>,
}

impl ByGroup {
    /// For plan node `node`, whose rows have this schema.
    pub(super) fn new(node: u32, schema: &SchemaRef) -> Self {
        ByGroup { node, schema: Arc::clone(schema), waiting: Vec::new(), rows: 0, emitted: vec![0; usize::from(KEY_GROUPS)] }
    }
    /// Adds dense rows with their key groups; enough of them are sent.
    pub(super) fn add(&mut self, batch: RecordBatch, groups: &[u16], out: &mut dyn Output) -> Result<()> {
        out.account(Account { held: groups.len() as i64, ..Account::default() });
        self.put(batch, groups)?;
        if self.enough() { self.flush(out) } else { Ok(()) }
    }
    /// Whether so many rows wait that they should be sent.
    pub(super) fn enough(&self) -> bool {
        self.rows >= BLOCK
    }
    /// Adds rows that were counted before. Those that come by key group are not copied.
    pub(super) fn put(&mut self, batch: RecordBatch, groups: &[u16]) -> Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        let batch = as_declared(batch, &self.schema)?;
        let grouped = if groups.is_sorted() {
            Grouped { batch, runs: runs(groups) }
        } else {
            let (order, runs) = by_key_group(groups);
            Grouped { batch: take_record_batch(&batch, &UInt32Array::from(order))?, runs }
        };
        self.rows += groups.len();
        self.waiting.push(grouped);
        Ok(())
    }
    /// Sends all rows, and counts them.
    pub(super) fn flush(&mut self, out: &mut dyn Output) -> Result<()> {
        let rows = self.rows;
        self.send(out)?;
        out.account(Account { used: rows as u64, held: -(rows as i64), ..Account::default() });
        Ok(())
    }
    /// Sends all rows.
    pub(super) fn send(&mut self, out: &mut dyn Output) -> Result<()> {
        let mut runs: Vec<(u16, &RecordBatch, &Range<usize>)> =
            self.waiting.iter().flat_map(|g| g.runs.iter().map(|(group, run)| (*group, &g.batch, run))).collect();
        // stable
        runs.sort_by_key(|(group, ..)| *group);
        let sorted = concat(&self.schema, runs.iter().map(|(_, batch, run)| (*batch, *run)))?;
        let mut from = 0;
        for same in runs.chunk_by(|a, b| a.0 == b.0) {
            let rows = same.iter().map(|(.., run)| run.len()).sum();
            let group = same.first().map_or(0, |run| run.0);
            let Some(emitted) = self.emitted.get_mut(usize::from(group)) else { continue };
            let origin = Origin { source: self.node, partition: 0, split: u64::from(group), row: *emitted };
            *emitted += rows as u64;
            out.emit(Morsel::new(sorted.slice(from, rows), origin));
            from += rows;
        }
        self.waiting.clear();
        self.rows = 0;
        Ok(())
    }
    /// The key groups of rows that wait.
    pub(super) fn groups(&self) -> BTreeSet<u16> {
        self.waiting.iter().flat_map(|g| g.runs.iter().map(|run| run.0)).collect()
    }
    /// The rows that wait and belong to `group`.
    pub(super) fn waiting(&self, group: u16) -> Result<RecordBatch> {
        let of = |g: &'_ Grouped| g.runs.iter().find(|run| run.0 == group).map(|run| run.1.clone());
        let runs: Vec<(&RecordBatch, Range<usize>)> = self.waiting.iter().filter_map(|g| Some((&g.batch, of(g)?))).collect();
        concat(&self.schema, runs.iter().map(|(batch, run)| (*batch, run)))
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
    pub(super) fn release(&mut self, group: u16) {
        for grouped in &mut self.waiting {
            grouped.runs.retain(|run| run.0 != group);
        }
        self.waiting.retain(|g| !g.runs.is_empty());
        self.rows = self.waiting.iter().flat_map(|g| &g.runs).map(|run| run.1.len()).sum();
        self.set_emitted(group, 0);
    }
    pub(super) fn bytes(&self) -> usize {
        let run = size_of::<(u16, Range<usize>)>();
        self.waiting.iter().map(|g| g.batch.get_array_memory_size() + g.runs.capacity() * run).sum()
    }
}

/// The runs of equal key groups.
fn runs(groups: &[u16]) -> Vec<(u16, Range<usize>)> {
    let mut from = 0;
    let run = |same: &[u16]| {
        let run = from..from + same.len();
        from = run.end;
        Some((*same.first()?, run))
    };
    groups.chunk_by(|a, b| a == b).filter_map(run).collect()
}

/// Runs of rows behind each other. Values are copied a run at a time, but for dictionaries, of which there may be one for each batch.
fn concat<'a>(schema: &SchemaRef, runs: impl Iterator<Item = (&'a RecordBatch, &'a Range<usize>)>) -> Result<RecordBatch> {
    if schema.fields().iter().any(|f| has_dictionary(f.data_type())) {
        let (mut seen, mut at) = (Vec::<&RecordBatch>::new(), Vec::new());
        for (batch, run) in runs {
            let known = seen.iter().position(|b| std::ptr::eq(*b, batch));
            let number = known.unwrap_or(seen.len());
            if known.is_none() {
                seen.push(batch);
            }
            at.extend(run.clone().map(|row| (number, row)));
        }
        return gather(schema, &seen.into_iter().cloned().collect::<Vec<_>>(), &at);
    }
    let pieces: Vec<RecordBatch> = runs.map(|(batch, run)| batch.slice(run.start, run.len())).collect();
    Ok(concat_batches(schema, &pieces)?)
}

fn has_dictionary(of: &DataType) -> bool {
    match of {
        DataType::Dictionary(..) => true,
        DataType::Struct(fields) => fields.iter().any(|f| has_dictionary(f.data_type())),
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => has_dictionary(f.data_type()),
        _ => false,
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
