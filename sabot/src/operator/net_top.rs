//! The first rows of each key in an order, sent as they change: `top` of what never ends, `top` and `distinct` over rows that are taken back.
//!
//! Rows of a key are kept sorted, each with how often it counts. For each morsel the first rows of the keys that it touches are compared
//! before and after it, and what differs is sent. What was sent is always the first rows of the state, so nothing else is kept.
//! Rows of equal rank are told apart by their other columns: rows that are taken back have no order of arrival.
//!
//! State: of rows that stay, the first of each key; else all rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int8Array, Int64Array, RecordBatch, cast::AsArray};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, SortOptions};

use super::kept::{RowList, batch_with, no_column, pick, plain, plain_type, positions};
use super::keys::{in_key_groups, key_groups};
use super::numbered::Numbered;
use super::weights::{Carried, WEIGHT, weights, with_weight_field};
use super::{Account, Frozen, GroupState, Instance, Kept, Keys, Operator, OperatorFactory, Output, Progress, TopSpec, ipc};
use crate::kernel::Morsel;
use crate::{Error, Result};

/// Rows of an output batch.
const OUT_ROWS: usize = 8192;
/// In a snapshot: how often a row counts.
const TIMES: &str = "sabot.times";
/// Bytes of an entry beside its row.
const ENTRY: usize = 48;

/// Rows of a key in order, with how often each counts.
type Sorted = BTreeMap<Box<[u8]>, i64>;

/// Sends the first rows of each key as they change; see the module.
pub struct NetTop {
    spec: Arc<TopSpec>,
    sent: Numbered,
    /// The most rows of a key that are sent.
    most: i64,
    /// The columns, in plain types.
    schema: SchemaRef,
    /// Adds weights.
    weighed: Carried,
    /// The columns in the order by which rows are sorted.
    order: Vec<usize>,
    converter: RowConverter,
    at: Vec<usize>,
    keys: Keys,
    groups: Vec<Sorted>,
    bytes: usize,
    /// Whether rows beyond the first can never become the first.
    trims: bool,
    list: RowList,
    numbers: Vec<u32>,
}

impl std::fmt::Debug for NetTop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetTop").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl NetTop {
    /// Instances for plan node `node` over rows of this schema, hashed by the keys; and the schema of what they deliver.
    ///
    /// # Errors
    /// If a column does not exist, or cannot be sorted.
    pub fn factory(spec: Arc<TopSpec>, input: &SchemaRef, node: u32) -> Result<(Arc<dyn OperatorFactory>, SchemaRef)> {
        let input = Arc::clone(input);
        let schema = with_weight_field(&Self::build(&spec, &input, node, Instance { index: 0, of: 1 })?.schema);
        let make = move |i: Instance| Ok(Box::new(Self::build(&spec, &input, node, i)?) as Box<dyn Operator>);
        Ok((Arc::new(make), schema))
    }
    fn build(spec: &Arc<TopSpec>, input: &SchemaRef, node: u32, instance: Instance) -> Result<Self> {
        let name = &spec.order.name;
        let plain_field = |f: &FieldRef| f.as_ref().clone().with_data_type(plain_type(f.data_type()));
        let fields: Vec<Field> = input.fields().iter().filter(|f| f.name() != WEIGHT).map(plain_field).collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let mut order = Vec::new();
        let mut sorts = Vec::new();
        for key in &spec.order.by {
            let at = schema.index_of(&key.column).map_err(|_| no_column(&key.column, name))?;
            // a column that was there is decided
            if !order.contains(&at) {
                order.push(at);
                let options = SortOptions { descending: !key.ascending, nulls_first: key.nulls_first };
                sorts.push(SortField::new_with_options(schema.field(at).data_type().clone(), options));
            }
        }
        for (at, field) in schema.fields().iter().enumerate() {
            if !order.contains(&at) {
                order.push(at);
                sorts.push(SortField::new(field.data_type().clone()));
            }
        }
        let at = positions(&schema, &spec.keys, name)?;
        let key_fields: Vec<FieldRef> = at.iter().filter_map(|i| schema.fields().get(*i)).cloned().collect();
        Ok(NetTop {
            spec: Arc::clone(spec),
            sent: Numbered::new(node, instance),
            most: i64::try_from(spec.rows).unwrap_or(i64::MAX),
            weighed: Carried::default(),
            order,
            converter: RowConverter::new(sorts)?,
            keys: Keys::new(&key_fields)?,
            at,
            groups: Vec::new(),
            bytes: 0,
            trims: input.column_with_name(WEIGHT).is_none(),
            list: RowList::default(),
            numbers: Vec::new(),
            schema,
        })
    }
    /// The columns of a batch, in plain types.
    fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let column = |f: &FieldRef| {
            let found = batch.column_by_name(f.name()).ok_or_else(|| no_column(f.name(), &self.spec.order.name))?;
            let found = plain(found)?;
            if found.data_type() == f.data_type() { Ok(found) } else { Ok(arrow_cast::cast(&found, f.data_type())?) }
        };
        self.schema.fields().iter().map(column).collect()
    }
    fn encoded(&self, columns: &[ArrayRef]) -> Result<Rows> {
        let sorted: Vec<ArrayRef> = self.order.iter().filter_map(|at| columns.get(*at)).cloned().collect();
        Ok(self.converter.convert_columns(&sorted)?)
    }
    /// Rows as columns.
    fn decoded<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<RecordBatch> {
        let parser = self.converter.parser();
        let sorted = self.converter.convert_rows(rows.map(|row| parser.parse(row)))?;
        let mut columns: Vec<Option<ArrayRef>> = vec![None; sorted.len()];
        for (column, at) in sorted.into_iter().zip(&self.order) {
            if let Some(slot) = columns.get_mut(*at) {
                *slot = Some(column);
            }
        }
        let columns: Option<Vec<ArrayRef>> = columns.into_iter().collect();
        let columns = columns.ok_or_else(|| Error::internal("a row lacks a column"))?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
    fn add(&mut self, group: u32, row: &[u8], times: i64) {
        let at = group as usize;
        if at >= self.groups.len() {
            self.groups.resize_with(at + 1, Sorted::new);
        }
        let Some(rows) = self.groups.get_mut(at) else { return };
        match rows.get_mut(row) {
            Some(count) => {
                *count += times;
                if *count == 0 {
                    rows.remove(row);
                    self.bytes -= row.len() + ENTRY;
                }
            }
            None => {
                rows.insert(row.into(), times);
                self.bytes += row.len() + ENTRY;
            }
        }
    }
    /// The first rows of a key, and how often each is among them.
    fn first(&self, group: u32) -> BTreeMap<&[u8], i64> {
        let mut left = self.most;
        let mut out = BTreeMap::new();
        for (row, times) in self.groups.get(group as usize).into_iter().flatten().filter(|(_, times)| **times > 0) {
            if left == 0 {
                break;
            }
            let times = left.min(*times);
            out.insert(row.as_ref(), times);
            left -= times;
        }
        out
    }
    /// Drops what can never be among the first rows again.
    fn trim(&mut self, group: u32) {
        let mut left = self.most;
        let Some(rows) = self.groups.get_mut(group as usize) else { return };
        let mut gone = 0;
        rows.retain(|row, times| {
            *times = left.min(*times);
            left -= *times;
            gone += if *times > 0 { 0 } else { row.len() + ENTRY };
            *times > 0
        });
        self.bytes -= gone;
    }
    fn take(&mut self, batch: &RecordBatch, kept: Kept<'_>, out: &mut dyn Output) -> Result<()> {
        let columns = self.columns(batch)?;
        let weights = weights(batch).map(<[i8]>::to_vec);
        let keys: Vec<ArrayRef> = self.at.iter().filter_map(|at| columns.get(*at)).cloned().collect();
        self.keys.insert(&keys, kept, &mut self.numbers)?;
        let rows = self.encoded(&columns)?;
        let mut touched = self.numbers.clone();
        touched.sort_unstable();
        touched.dedup();
        let owned = |first: BTreeMap<&[u8], i64>| first.into_iter().map(|(row, times)| (Box::from(row), times)).collect::<Sorted>();
        let before: Vec<Sorted> = touched.iter().map(|g| owned(self.first(*g))).collect();
        let numbers = std::mem::take(&mut self.numbers);
        kept.each(|i, row| {
            let weight = weights.as_ref().map_or(1, |w| w.get(row).copied().unwrap_or_default());
            if let Some(group) = numbers.get(i) {
                self.add(*group, rows.row(row).data(), i64::from(weight));
            }
        });
        self.numbers = numbers;
        out.account(Account { used: kept.len() as u64, ..Account::default() });
        let (mut gone, mut come): (Vec<Box<[u8]>>, Vec<Box<[u8]>>) = (Vec::new(), Vec::new());
        for (group, before) in touched.iter().zip(before) {
            let after = self.first(*group);
            let more = |row: &[u8], by: i64, to: &mut Vec<Box<[u8]>>| to.extend(std::iter::repeat_n(Box::from(row), by.max(0) as usize));
            for (row, times) in &before {
                more(row, times - after.get(row.as_ref()).copied().unwrap_or(0), &mut gone);
            }
            for (row, times) in after {
                more(row, times - before.get(row).copied().unwrap_or(0), &mut come);
            }
            if self.trims {
                self.trim(*group);
            }
        }
        self.send(&gone, -1, out)?;
        self.send(&come, 1, out)
    }
    fn send(&mut self, rows: &[Box<[u8]>], weight: i8, out: &mut dyn Output) -> Result<()> {
        for some in rows.chunks(OUT_ROWS) {
            let batch = self.decoded(some.iter().map(AsRef::as_ref))?;
            let batch = self.weighed.with(batch, Arc::new(Int8Array::from_value(weight, some.len())))?;
            self.sent.emit(batch, out);
        }
        Ok(())
    }
}

impl Operator for NetTop {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let mut list = std::mem::take(&mut self.list);
        let kept = list.of(&morsel);
        let result = if kept.is_empty() { Ok(()) } else { self.take(&morsel.batch, kept, out) };
        self.list = list;
        result.map(|()| Progress::Done)
    }
    fn finish(&mut self, _port: usize, _out: &mut dyn Output) -> Result<Progress> {
        self.groups.clear();
        self.keys.clear();
        self.bytes = 0;
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.keys.bytes() + self.groups.capacity() * size_of::<Sorted>() + self.bytes
    }
    /// The rows with how often they count, by key group.
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let rows = self.decoded(self.groups.iter().flatten().map(|(row, _)| row.as_ref()))?;
        let times: Int64Array = self.groups.iter().flatten().map(|(_, times)| *times).collect::<Vec<i64>>().into();
        let cut = batch_with(&rows, Field::new(TIMES, DataType::Int64, false), Arc::new(times))?;
        let (at, sent) = (self.at.clone(), self.sent.tag());
        Ok(Frozen::new(move || {
            let mut states = Vec::new();
            for (group, part) in in_key_groups(&cut, &pick(&cut, &at)?)? {
                let mut bytes = Vec::new();
                ipc::push(&ipc::tagged(&part, [sent.clone()])?, &mut bytes)?;
                states.push(GroupState { group, bytes });
            }
            Ok(states)
        }))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let spec = Arc::clone(&self.spec);
        let name = &spec.order.name;
        let mut bytes = state.bytes.as_slice();
        while let Some(batch) = ipc::pop(&mut bytes)? {
            self.sent.restore(&batch, name)?;
            let times = batch.column_by_name(TIMES).and_then(|c| c.as_primitive_opt::<Int64Type>());
            let times = times.ok_or_else(|| Error::Checkpoint(format!("the state of `{name}` lacks {TIMES}")))?;
            let columns = self.columns(&batch)?;
            let keys: Vec<ArrayRef> = self.at.iter().filter_map(|at| columns.get(*at)).cloned().collect();
            self.keys.insert(&keys, Kept::Range(0, batch.num_rows()), &mut self.numbers)?;
            let rows = self.encoded(&columns)?;
            let numbers = std::mem::take(&mut self.numbers);
            for (i, (group, times)) in numbers.iter().zip(times.values()).enumerate() {
                self.add(*group, rows.row(i).data(), *times);
            }
            self.numbers = numbers;
        }
        Ok(())
    }
    fn release(&mut self, group: u16) {
        let all: Vec<u32> = (0..self.groups.len() as u32).collect();
        let Ok(of) = self.keys.columns(&all).and_then(|keys| key_groups(&keys, all.len())) else { return };
        for (rows, of) in self.groups.iter_mut().zip(of) {
            if of == group {
                self.bytes -= rows.keys().map(|row| row.len() + ENTRY).sum::<usize>();
                rows.clear();
            }
        }
    }
}
