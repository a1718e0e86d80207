//! Sorting bounded streams: sorted runs per split, then one stable merge.
//!
//! Rows are compared by Arrow's row format (one `memcmp` order for all columns; floats in IEEE total order); see
//! [`places`](super::places). Equal rows keep source order.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{Schema, SchemaRef, SortOptions};
use arrow_select::interleave::interleave_record_batch;

use super::kept::{no_column, pick, positions, split_of};
use super::places::{Place, sorted};
use super::{Account, Frozen, GroupState, Instance, Operator, OperatorFactory, Output, Progress, ipc};
use crate::kernel::{Morsel, Origin};
use crate::{Error, Result};

/// Rows of an output batch.
const OUT_ROWS: usize = 8192;

/// One sort column.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SortKey {
    /// The column.
    pub column: String,
    /// Least first.
    pub ascending: bool,
    /// Nulls before all values, whatever the direction.
    pub nulls_first: bool,
}

/// A sort: columns, most significant first.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SortSpec {
    /// Stable id of the step, for messages.
    pub name: String,
    /// The columns.
    pub by: Vec<SortKey>,
}

impl SortSpec {
    fn converter(&self, schema: &Schema) -> Result<(RowConverter, Vec<usize>)> {
        let mut fields = Vec::new();
        for key in &self.by {
            let field = schema.field_with_name(&key.column).map_err(|_| no_column(&key.column, &self.name))?;
            let options = SortOptions { descending: !key.ascending, nulls_first: key.nulls_first };
            fields.push(SortField::new_with_options(field.data_type().clone(), options));
        }
        let names: Vec<String> = self.by.iter().map(|k| k.column.clone()).collect();
        Ok((RowConverter::new(fields)?, positions(schema, &names, &self.name)?))
    }
}

/// Batches with their rows' sort order.
struct Sorter {
    spec: Arc<SortSpec>,
    schema: SchemaRef,
    converter: RowConverter,
    columns: Vec<usize>,
}

impl Sorter {
    fn new(spec: Arc<SortSpec>, schema: &SchemaRef) -> Result<Self> {
        let (converter, columns) = spec.converter(schema)?;
        Ok(Sorter { spec, schema: Arc::clone(schema), converter, columns })
    }
    fn rows(&self, batch: &RecordBatch) -> Result<Rows> {
        Ok(self.converter.convert_columns(&pick(batch, &self.columns)?)?)
    }
    /// The places of all rows in sorted order; `batches` are in source order.
    fn order(&self, batches: &[RecordBatch]) -> Result<Vec<Place>> {
        let rows = batches.iter().map(|b| self.rows(b)).collect::<Result<Vec<_>>>()?;
        sorted(&rows)
    }
    fn gather(&self, batches: &[RecordBatch], places: &[Place]) -> Result<RecordBatch> {
        let refs: Vec<&RecordBatch> = batches.iter().collect();
        let at: Vec<(usize, usize)> = places.iter().map(|p| (p.1 as usize, p.2 as usize)).collect();
        if refs.is_empty() || self.schema.fields().is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        Ok(interleave_record_batch(&refs, &at)?)
    }
    /// Batches that come from several files may differ in metadata and dictionaries; types must be the declared ones.
    fn accept(&self, batch: RecordBatch) -> Result<RecordBatch> {
        RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())
            .map_err(|e| Error::Plan(format!("the rows that `{}` sorts do not have the declared columns: {e}", self.spec.name)))
    }
}

fn write(batches: Vec<(Origin, RecordBatch)>) -> Frozen {
    Frozen::new(move || {
        let mut bytes = Vec::new();
        for (origin, batch) in batches {
            ipc::push_with_origin(&batch, origin, &mut bytes)?;
        }
        Ok(if bytes.is_empty() { Vec::new() } else { vec![GroupState { group: 0, bytes }] })
    })
}

fn read(state: &GroupState) -> Result<Vec<(Origin, RecordBatch)>> {
    let mut bytes = state.bytes.as_slice();
    let mut out = Vec::new();
    while let Some(batch) = ipc::pop(&mut bytes)? {
        out.push((ipc::origin_of(&batch)?, batch));
    }
    Ok(out)
}

/// Sorts the rows of each split and sends them on, as one run, when the split ends.
pub struct PartialSort {
    sorter: Sorter,
    splits: Vec<(Origin, Vec<RecordBatch>)>,
}

impl std::fmt::Debug for PartialSort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartialSort").field("spec", &self.sorter.spec).finish_non_exhaustive()
    }
}

impl PartialSort {
    /// Instances over rows of this schema.
    ///
    /// # Errors
    /// If a sort column does not exist or has no order.
    pub fn factory(spec: Arc<SortSpec>, schema: &SchemaRef) -> Result<Arc<dyn OperatorFactory>> {
        let schema = Arc::clone(schema);
        Sorter::new(Arc::clone(&spec), &schema)?;
        Ok(Arc::new(move |_: Instance| {
            Ok(Box::new(PartialSort { sorter: Sorter::new(Arc::clone(&spec), &schema)?, splits: Vec::new() }) as Box<dyn Operator>)
        }))
    }
    fn add(&mut self, origin: Origin, batch: RecordBatch) {
        let origin = split_of(origin);
        match self.splits.iter_mut().rev().find(|(o, _)| *o == origin) {
            Some((_, batches)) => batches.push(batch),
            None => self.splits.push((origin, vec![batch])),
        }
    }
    fn send(&self, origin: Origin, batches: &[RecordBatch], out: &mut dyn Output) -> Result<()> {
        let run = self.sorter.gather(batches, &self.sorter.order(batches)?)?;
        out.account(Account { used: run.num_rows() as u64, held: -(run.num_rows() as i64), ..Account::default() });
        if run.num_rows() > 0 {
            out.emit(Morsel::new(run, origin));
        }
        Ok(())
    }
}

impl Operator for PartialSort {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = self.sorter.accept(morsel.compact()?)?;
        out.account(Account { held: batch.num_rows() as i64, ..Account::default() });
        if batch.num_rows() > 0 {
            self.add(morsel.origin, batch);
        }
        Ok(Progress::Done)
    }
    fn split_end(&mut self, _port: usize, origin: Origin, out: &mut dyn Output) -> Result<()> {
        let origin = split_of(origin);
        if let Some(at) = self.splits.iter().position(|(o, _)| *o == origin) {
            let (origin, batches) = self.splits.remove(at);
            self.send(origin, &batches, out)?;
        }
        Ok(())
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        let mut splits = std::mem::take(&mut self.splits);
        splits.sort_by_key(|(o, _)| *o);
        splits.iter().try_for_each(|(origin, batches)| self.send(*origin, batches, out))?;
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.splits.iter().flat_map(|(_, b)| b).map(RecordBatch::get_array_memory_size).sum()
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        Ok(write(self.splits.iter().flat_map(|(o, batches)| batches.iter().map(|b| (*o, b.clone()))).collect()))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        for (origin, batch) in read(state)? {
            let batch = self.sorter.accept(batch)?;
            self.add(origin, batch);
        }
        Ok(())
    }
}

/// Merges the sorted runs of all splits, stably. A single instance with ordered, gathered input.
pub struct MergeSort {
    sorter: Sorter,
    node: u32,
    batches: Vec<RecordBatch>,
    places: Vec<Place>,
    sent: usize,
}

impl std::fmt::Debug for MergeSort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergeSort").field("spec", &self.sorter.spec).finish_non_exhaustive()
    }
}

impl MergeSort {
    /// The instance for plan node `node`; its output's origin is this node, split 0.
    ///
    /// # Errors
    /// If a sort column does not exist or has no order.
    pub fn factory(spec: Arc<SortSpec>, schema: &SchemaRef, node: u32) -> Result<Arc<dyn OperatorFactory>> {
        let schema = Arc::clone(schema);
        Sorter::new(Arc::clone(&spec), &schema)?;
        Ok(Arc::new(move |_: Instance| {
            let sorter = Sorter::new(Arc::clone(&spec), &schema)?;
            Ok(Box::new(MergeSort { sorter, node, batches: Vec::new(), places: Vec::new(), sent: 0 }) as Box<dyn Operator>)
        }))
    }
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        while let Some(rest) = self.places.get(self.sent..).filter(|r| !r.is_empty()) {
            let some = rest.get(..OUT_ROWS).unwrap_or(rest);
            let batch = self.sorter.gather(&self.batches, some)?;
            let rows = some.len();
            let origin = Origin { source: self.node, partition: 0, split: 0, row: self.sent as u64 };
            self.sent += rows;
            out.account(Account { used: rows as u64, held: -(rows as i64), ..Account::default() });
            out.emit(Morsel::new(batch, origin));
            if out.full() && self.sent < self.places.len() {
                return Ok(Progress::More);
            }
        }
        self.batches.clear();
        self.places = Vec::new();
        self.sent = 0;
        Ok(Progress::Done)
    }
}

impl Operator for MergeSort {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = self.sorter.accept(morsel.compact()?)?;
        out.account(Account { held: batch.num_rows() as i64, ..Account::default() });
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
        Ok(Progress::Done)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pump(out)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        self.places = self.sorter.order(&self.batches)?;
        self.pump(out)
    }
    fn held_bytes(&self) -> usize {
        self.batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>() + self.places.capacity() * size_of::<Place>()
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        Ok(write(self.batches.iter().map(|b| (Origin::default(), b.clone())).collect()))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        for (_, batch) in read(state)? {
            self.batches.push(self.sorter.accept(batch)?);
        }
        Ok(())
    }
}
