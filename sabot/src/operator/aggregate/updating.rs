//! Results that are sent whenever they change: the old row with weight -1, the new one with weight 1.
//!
//! Input are the partial states of [`PartialAggregate`](super::PartialAggregate), hashed by key. For each morsel the results of the
//! groups that it touches are computed twice, before it and after it, and sent where they differ. So nothing is kept of what was
//! sent: states are not touched in between, and a state that goes through a checkpoint gives the result that it gave before.
//! How many updates there are depends on morsels; their sum does not.
//!
//! State: keys and accumulators of all groups, for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int8Array, RecordBatch, UInt32Array};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{FieldRef, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;

use super::AggregateSpec;
use super::cut::{drop_group, load, with_rows};
use super::finished::finished;
use super::spec::{Groups, state_slices};
use crate::kernel::{Morsel, Origin};
use crate::operator::kept::RowList;
use crate::operator::keys::{by_key_group, key_groups};
use crate::operator::weights::{WEIGHT, with_weight_field};
use crate::operator::{Account, Frozen, GroupState, Instance, Kept, Operator, OperatorFactory, Output, Progress, ipc};
use crate::{Error, Result};

/// Rows of an output batch.
const OUT_ROWS: usize = 8192;
/// Rows that an instance has sent for a key group, in a snapshot's metadata.
const EMITTED: &str = "sabot.emitted";

/// Sends results as they change; see the [module](self).
pub struct UpdatingAggregate {
    spec: Arc<AggregateSpec>,
    node: u32,
    instance: Instance,
    partial: SchemaRef,
    /// The columns of results, and with their weights.
    schema: SchemaRef,
    weighed: SchemaRef,
    fields: Vec<FieldRef>,
    counts: Vec<usize>,
    groups: Groups,
    /// Compares the results of functions.
    converter: RowConverter,
    emitted: u64,
    list: RowList,
    numbers: Vec<u32>,
    /// The groups that a morsel touches, each once: its number is marked with that of the morsel.
    touched: Vec<u32>,
    marks: Vec<u64>,
    morsels: u64,
}

impl std::fmt::Debug for UpdatingAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpdatingAggregate").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl UpdatingAggregate {
    /// Instances for plan node `node`. `input` is the schema of the rows that the first phase aggregates, `output` that of the
    /// results and their weights.
    ///
    /// # Errors
    /// If the specification does not fit the input.
    pub fn factory(spec: Arc<AggregateSpec>, input: &SchemaRef, output: &SchemaRef, node: u32) -> Result<Arc<dyn OperatorFactory>> {
        let (input, output) = (Arc::clone(input), Arc::clone(output));
        Self::build(&spec, &input, &output, node, Instance { index: 0, of: 1 })?;
        Ok(Arc::new(move |i: Instance| Ok(Box::new(Self::build(&spec, &input, &output, node, i)?) as Box<dyn Operator>)))
    }
    fn build(spec: &Arc<AggregateSpec>, input: &SchemaRef, output: &SchemaRef, node: u32, instance: Instance) -> Result<Self> {
        let results: Vec<FieldRef> = output.fields().iter().filter(|f| f.name() != WEIGHT).cloned().collect();
        if spec.output_schema(input)?.fields().len() != results.len() || output.fields().len() != results.len() + 1 {
            return Err(Error::Plan(format!("`{}` makes other columns than the plan says", spec.name)));
        }
        let fields = spec.group_fields(input)?;
        let made = results.iter().skip(results.len() - spec.functions.len());
        let converter = RowConverter::new(made.map(|f| SortField::new(f.data_type().clone())).collect())?;
        let schema: SchemaRef = Arc::new(Schema::new(results));
        Ok(UpdatingAggregate {
            spec: Arc::clone(spec),
            node,
            instance,
            partial: spec.partial_schema(input)?,
            weighed: with_weight_field(&schema),
            schema,
            counts: spec.state_counts(),
            groups: Groups::new(spec, &fields)?,
            fields,
            converter,
            emitted: 0,
            list: RowList::default(),
            numbers: Vec::new(),
            touched: Vec::new(),
            marks: Vec::new(),
            morsels: 0,
        })
    }
    fn take(&mut self, batch: &RecordBatch, kept: Kept<'_>, out: &mut dyn Output) -> Result<()> {
        let columns = batch.columns();
        let states = state_slices(columns, self.fields.len(), &self.counts)?;
        let before = self.groups.keys.len();
        self.groups.keys.insert(columns, kept, &mut self.numbers)?;
        self.groups.resize();
        self.touch();
        let known: Vec<u32> = self.touched.iter().copied().filter(|g| (*g as usize) < before).collect();
        let old = self.result(&known)?;
        self.groups.count(&self.numbers);
        for (state, columns) in self.groups.states.iter_mut().zip(states) {
            state.merge(&self.numbers, kept, columns).map_err(|f| f.at(&self.spec.name, None))?;
        }
        let new = self.result(&self.touched)?;
        out.account(Account { used: kept.len() as u64, ..Account::default() });
        self.send(before, &old, &new, out)
    }
    /// Finds the groups that a morsel touches, in order of appearance.
    fn touch(&mut self) {
        self.morsels += 1;
        self.marks.resize(self.groups.keys.len(), 0);
        self.touched.clear();
        for group in &self.numbers {
            if let Some(mark) = self.marks.get_mut(*group as usize)
                && std::mem::replace(mark, self.morsels) != self.morsels
            {
                self.touched.push(*group);
            }
        }
    }
    fn result(&self, groups: &[u32]) -> Result<RecordBatch> {
        finished(&self.spec, &self.schema, None, &self.groups, groups)
    }
    /// Sends what changed: `old` are the results of those of the touched groups that were among the first `before`, `new` those of
    /// all.
    fn send(&mut self, before: usize, old: &RecordBatch, new: &RecordBatch, out: &mut dyn Output) -> Result<()> {
        let keys = self.schema.fields().len() - self.spec.functions.len();
        let made = |batch: &RecordBatch| batch.columns().get(keys..).unwrap_or(&[]).to_vec();
        let (olds, news) = (self.converter.convert_columns(&made(old))?, self.converter.convert_columns(&made(new))?);
        let none = self.spec.functions.is_empty();
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        let mut at_old = 0;
        for (at_new, group) in self.touched.iter().enumerate() {
            if (*group as usize) < before {
                let same = none || olds.row(at_old) == news.row(at_new);
                if !same {
                    rows.extend([at_old as u32, (old.num_rows() + at_new) as u32]);
                    weights.extend([-1, 1]);
                }
                at_old += 1;
            } else {
                rows.push((old.num_rows() + at_new) as u32);
                weights.push(1);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let both = if old.num_rows() == 0 { new.clone() } else { concat_batches(&self.schema, [old, new])? };
        for (rows, weights) in rows.chunks(OUT_ROWS).zip(weights.chunks(OUT_ROWS)) {
            let some = take_record_batch(&both, &UInt32Array::from(rows.to_vec()))?;
            let columns = some.columns().iter().cloned().chain([Arc::new(Int8Array::from(weights.to_vec())) as ArrayRef]);
            let batch = RecordBatch::try_new(Arc::clone(&self.weighed), columns.collect())?;
            let split = u64::from(self.instance.index as u32);
            let origin = Origin { source: self.node, partition: 0, split, row: self.emitted };
            self.emitted += batch.num_rows() as u64;
            out.emit(Morsel::new(batch, origin));
        }
        Ok(())
    }
}

impl Operator for UpdatingAggregate {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let mut list = std::mem::take(&mut self.list);
        let kept = list.of(&morsel);
        let result = if kept.is_empty() { Ok(()) } else { self.take(&morsel.batch, kept, out) };
        self.list = list;
        result.map(|()| Progress::Done)
    }
    fn finish(&mut self, _port: usize, _out: &mut dyn Output) -> Result<Progress> {
        self.groups.clear();
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.groups.bytes() + self.marks.capacity() * 8
    }
    /// Keys and states, by key group.
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let cut = with_rows(&self.groups.partial(&self.groups.all(), &self.partial)?, self.groups.rows.clone())?;
        let (keys, emitted) = (self.spec.keys.len(), self.emitted);
        Ok(Frozen::new(move || {
            let (order, ranges) = by_key_group(&key_groups(cut.columns().get(..keys).unwrap_or(&[]), cut.num_rows())?);
            let sorted = take_record_batch(&cut, &UInt32Array::from(order))?;
            let ranges: BTreeMap<u16, std::ops::Range<usize>> = ranges.into_iter().collect();
            let mut states = Vec::new();
            for (group, range) in ranges {
                let mut bytes = Vec::new();
                let tags = [(EMITTED.to_owned(), emitted.to_string())];
                ipc::push(&ipc::tagged(&sorted.slice(range.start, range.len()), tags)?, &mut bytes)?;
                states.push(GroupState { group, bytes });
            }
            Ok(states)
        }))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let mut bytes = state.bytes.as_slice();
        while let Some(batch) = ipc::pop(&mut bytes)? {
            let emitted = ipc::tag(&batch, EMITTED).and_then(|t| t.parse().ok());
            let lacks = || Error::Checkpoint(format!("the state of `{}` lacks {EMITTED}", self.spec.name));
            self.emitted = self.emitted.max(emitted.ok_or_else(lacks)?);
            load(&mut self.groups, &batch, &self.partial, self.fields.len(), &self.counts, &self.spec.name)?;
        }
        Ok(())
    }
    fn release(&mut self, group: u16) {
        drop_group(&mut self.groups, group, self.spec.keys.len(), &self.counts, &self.spec.name);
        self.marks.clear();
    }
}
