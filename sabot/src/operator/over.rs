//! Functions over the rows of a key in an order: ranks, neighbours, running aggregates; SQL's window functions.
//!
//! All rows are kept until the input ends, then sorted by key group, key (in order of first appearance) and the order
//! columns, equal rows in source order. Each function sees the columns of all rows in that order, and where partitions
//! begin; it makes one column in one pass. Rows leave in that order.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_row::Rows;
use arrow_schema::{FieldRef, SchemaRef};

use super::by_group::{ByGroup, as_declared, gather};
use super::kept::{named, pick, positions};
use super::keys::{by_key_group, key_groups};
use super::order::Order;
use super::ranked::{Partitions, WindowFunction};
use super::{Account, Frozen, GroupState, Instance, Kept, Keys, Mark, Operator, OperatorFactory, Output, Progress, SortSpec, ipc};
use crate::kernel::{Morsel, Origin};
use crate::{Error, Result};

/// Rows of an output batch.
const OUT_ROWS: usize = 8192;

/// A function, the columns it reads, and the column it makes.
#[derive(Clone)]
pub struct OverFunction {
    /// Name of the column.
    pub name: String,
    /// The columns it reads.
    pub inputs: Vec<String>,
    /// The function.
    pub function: Arc<dyn WindowFunction>,
}

impl std::fmt::Debug for OverFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}({})", self.name, self.function.describe(), self.inputs.join(", "))
    }
}

/// Keys, order and functions.
#[derive(Clone, Debug)]
pub struct OverSpec {
    /// Key columns; without, all rows are one partition.
    pub keys: Vec<String>,
    /// The step's stable id, and the order; without a column in it, functions see whole partitions.
    pub order: SortSpec,
    /// The functions.
    pub functions: Vec<OverFunction>,
}

/// Keeps rows, and adds columns in the end.
#[derive(Debug)]
pub struct Over {
    spec: Arc<OverSpec>,
    node: u32,
    input: SchemaRef,
    schema: SchemaRef,
    keys: Vec<usize>,
    order: Option<Order>,
    batches: Vec<RecordBatch>,
    /// What is on its way out: columns in order, rows, and their key groups' ranges.
    sorted: Option<Sorted>,
}

#[derive(Debug)]
struct Sorted {
    at: Vec<(usize, usize)>,
    columns: Vec<ArrayRef>,
    ranges: Vec<(u16, std::ops::Range<usize>)>,
    sent: usize,
}

/// A row: its partition, the head of its order, its batch and row.
type Place = (u32, u64, u32, u32);

impl Over {
    /// Instances for plan node `node`, with input in source order: hashed by the keys, or, without, gathered. `output` has
    /// columns of the input and of the functions.
    ///
    /// # Errors
    /// If a column does not exist, or has no order.
    pub fn factory(spec: Arc<OverSpec>, input: &SchemaRef, output: &SchemaRef, node: u32) -> Result<Arc<dyn OperatorFactory>> {
        let (input, output) = (Arc::clone(input), Arc::clone(output));
        Self::build(&spec, &input, &output, node)?;
        Ok(Arc::new(move |_: Instance| Ok(Box::new(Self::build(&spec, &input, &output, node)?) as Box<dyn Operator>)))
    }
    fn build(spec: &Arc<OverSpec>, input: &SchemaRef, output: &SchemaRef, node: u32) -> Result<Self> {
        let name = &spec.order.name;
        for f in &spec.functions {
            positions(input, &f.inputs, name)?;
        }
        let order = (!spec.order.by.is_empty()).then(|| Order::new(&spec.order, input)).transpose()?;
        let (schema, keys) = (Arc::clone(output), positions(input, &spec.keys, name)?);
        Ok(Over { spec: Arc::clone(spec), node, input: Arc::clone(input), schema, keys, order, batches: Vec::new(), sorted: None })
    }
    /// The number of each row's partition, in order of key group and first appearance, and the key group of each partition.
    fn partitions(&self) -> Result<(Vec<Vec<u32>>, Vec<u16>)> {
        let fields: Vec<FieldRef> = self.keys.iter().filter_map(|i| self.input.fields().get(*i)).cloned().collect();
        let mut keys = Keys::new(&fields)?;
        let mut numbers = Vec::with_capacity(self.batches.len());
        for batch in &self.batches {
            let mut groups = Vec::new();
            keys.insert(&pick(batch, &self.keys)?, Kept::Range(0, batch.num_rows()), &mut groups)?;
            numbers.push(groups);
        }
        let all: Vec<u32> = (0..keys.len() as u32).collect();
        let of = if self.keys.is_empty() { vec![0; all.len()] } else { key_groups(&keys.columns(&all)?, all.len())? };
        let (order, _) = by_key_group(&of);
        let mut rank = vec![0u32; order.len()];
        for (at, group) in (0u32..).zip(&order) {
            rank.iter_mut().skip(*group as usize).take(1).for_each(|r| *r = at);
        }
        for number in numbers.iter_mut().flatten() {
            *number = rank.get(*number as usize).copied().unwrap_or_default();
        }
        Ok((numbers, order.iter().filter_map(|g| of.get(*g as usize)).copied().collect()))
    }
    fn sort(&mut self) -> Result<Sorted> {
        let (numbers, groups) = self.partitions()?;
        let mut forms: Vec<Rows> = Vec::new();
        let mut places: Vec<Place> = Vec::with_capacity(numbers.iter().map(Vec::len).sum());
        let mut heads = Vec::new();
        for ((batch, numbers), b) in self.batches.iter().zip(&numbers).zip(0u32..) {
            match &self.order {
                Some(order) => {
                    order.heads(batch, &mut heads)?;
                    forms.push(order.rows(&order.columns(batch)?)?);
                }
                None => heads = vec![0; batch.num_rows()],
            }
            places.extend(numbers.iter().zip(&heads).zip(0u32..).map(|((number, head), row)| (*number, *head, b, row)));
        }
        let form = |p: &Place| forms.get(p.2 as usize).map(|rows| rows.row(p.3 as usize));
        places.sort_unstable_by(|a, b| {
            (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| form(a).cmp(&form(b))).then_with(|| (a.2, a.3).cmp(&(b.2, b.3)))
        });
        let mut parts = Partitions { starts: Vec::new(), peers: Vec::with_capacity(places.len()), ordered: self.order.is_some() };
        let mut ranges: Vec<(u16, std::ops::Range<usize>)> = Vec::new();
        let mut last: Option<&Place> = None;
        for (place, at) in places.iter().zip(0usize..) {
            let new = last.is_none_or(|l| l.0 != place.0);
            parts.peers.push(new || last.is_some_and(|l| l.1 != place.1 || form(l) != form(place)));
            if new {
                parts.starts.push(at);
                let group = groups.get(place.0 as usize).copied().unwrap_or_default();
                match ranges.last_mut() {
                    Some((g, _)) if *g == group => {}
                    _ => ranges.push((group, at..at)),
                }
            }
            if let Some((_, range)) = ranges.last_mut() {
                range.end = at + 1;
            }
            last = Some(place);
        }
        let at: Vec<(usize, usize)> = places.iter().map(|p| (p.2 as usize, p.3 as usize)).collect();
        let mut columns = Vec::new();
        for f in &self.spec.functions {
            let inputs = positions(&self.input, &f.inputs, &self.spec.order.name)?;
            let (schema, read) =
                (Arc::new(self.input.project(&inputs)?), self.batches.iter().map(|b| b.project(&inputs)).collect::<Result<Vec<_>, _>>()?);
            let read = gather(&schema, &read, &at)?;
            columns.push(f.function.compute(read.columns(), &parts).map_err(|e| e.at(&self.spec.order.name, None))?);
        }
        Ok(Sorted { at, columns, ranges, sent: 0 })
    }
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        let Some(sorted) = &mut self.sorted else { return Ok(Progress::Done) };
        while let Some((group, range)) = sorted.ranges.iter().find(|(_, r)| r.end > sorted.sent) {
            let rows = OUT_ROWS.min(range.end - sorted.sent);
            let kept = gather(&self.input, &self.batches, sorted.at.get(sorted.sent..sorted.sent + rows).unwrap_or(&[]))?;
            let mut columns = Vec::with_capacity(self.schema.fields().len());
            for field in self.schema.fields() {
                let made = self.spec.functions.iter().position(|f| f.name == *field.name()).and_then(|i| sorted.columns.get(i));
                columns.push(match made {
                    Some(column) => column.slice(sorted.sent, rows),
                    None => named(&kept, std::slice::from_ref(field.name()), &self.spec.order.name)?
                        .pop()
                        .ok_or_else(|| Error::internal("a column got lost"))?,
                });
            }
            let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
            let origin = Origin { source: self.node, partition: 0, split: u64::from(*group), row: (sorted.sent - range.start) as u64 };
            sorted.sent += rows;
            out.account(Account { used: rows as u64, held: -(rows as i64), ..Account::default() });
            out.emit(Morsel::new(batch, origin));
            if out.full() && sorted.sent < sorted.at.len() {
                return Ok(Progress::More);
            }
        }
        self.sorted = None;
        self.batches.clear();
        Ok(Progress::Done)
    }
}

impl Operator for Over {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = as_declared(morsel.compact()?, &self.input)?;
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
        let sorted = self.sort()?;
        if let Some((group, _)) = sorted.ranges.first() {
            out.pass(Mark::Ascending(Origin { source: self.node, partition: 0, split: u64::from(*group), row: 0 }));
        }
        self.sorted = Some(sorted);
        self.pump(out)
    }
    fn held_bytes(&self) -> usize {
        let sorted =
            self.sorted.as_ref().map_or(0, |s| s.at.capacity() * 16 + s.columns.iter().map(|c| c.get_array_memory_size()).sum::<usize>());
        self.batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>() + sorted
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let (mut all, keys) = (ByGroup::new(self.node, &self.input), self.keys.clone());
        for batch in &self.batches {
            let groups = if keys.is_empty() { vec![0; batch.num_rows()] } else { key_groups(&pick(batch, &keys)?, batch.num_rows())? };
            all.put(batch.clone(), &groups)?;
        }
        Ok(Frozen::new(move || {
            let mut states = Vec::new();
            for group in all.groups() {
                let mut bytes = Vec::new();
                ipc::push(&all.waiting(group)?, &mut bytes)?;
                states.push(GroupState { group, bytes });
            }
            Ok(states)
        }))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let mut bytes = state.bytes.as_slice();
        while let Some(batch) = ipc::pop(&mut bytes)? {
            self.batches.push(as_declared(batch, &self.input)?);
        }
        Ok(())
    }
    fn release(&mut self, group: u16) {
        for batch in &mut self.batches {
            let Ok(groups) = pick(batch, &self.keys).and_then(|keys| key_groups(&keys, batch.num_rows())) else { return };
            let live: Vec<u32> = groups.iter().zip(0..).filter(|(g, _)| **g != group).map(|(_, row)| row).collect();
            if let Ok(rest) = super::distinct::take_rows(batch, &live) {
                *batch = rest;
            }
        }
    }
}
