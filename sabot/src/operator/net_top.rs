//! The first rows of each key in an order, sent as they change: `top` of what never ends, `top` and `distinct` over rows that are taken back.
//!
//! Rows of a key are kept sorted, each with how often it counts. For each morsel the first rows of the keys that it touches are compared
//! before and after it, and what differs is sent. What was sent is always the first rows of the state, so nothing else is kept.
//! Rows of equal rank are told apart by their other columns: rows that are taken back have no order of arrival.
//!
//! State: of rows that stay, the first of each key; else all rows. A layer holds the rows of the keys that have changed, and the keys that have
//! none any more; layers are read from the last to the first.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int8Array, Int64Array, RecordBatch, cast::AsArray};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, SortOptions};
use arrow_select::concat::concat_batches;

use super::kept::{RowList, batch_with, no_column, plain, plain_type, positions};
use super::keys::{NO_GROUP, key_groups, rows_of};
use super::layers::{Changes, Written};
use super::numbered::Numbered;
use super::weights::{Carried, WEIGHT, weights, with_weight_field};
use super::{
    Account, Frozen, GroupState, Instance, Kept, Keys, Layer, LayerRows, Operator, OperatorFactory, Output, Progress, Spare, TopSpec, ipc,
    packed,
};
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
    /// What layers hold of each group.
    written: Vec<Written>,
    changes: Changes,
    /// Memory for layers.
    spare: Spare,
    bytes: usize,
    /// Rows of all groups.
    rows: usize,
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
            written: Vec::new(),
            changes: Changes::default(),
            spare: Spare::default(),
            bytes: 0,
            rows: 0,
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
    /// Makes room for so many groups.
    fn enter(&mut self, groups: usize) {
        self.groups.resize_with(groups.max(self.groups.len()), Sorted::new);
        self.written.resize(self.groups.len(), Written::No);
    }
    fn add(&mut self, group: u32, row: &[u8], times: i64) {
        let at = group as usize;
        if at >= self.groups.len() {
            self.enter(at + 1);
        }
        let Some(rows) = self.groups.get_mut(at) else { return };
        match rows.get_mut(row) {
            Some(count) => {
                *count += times;
                if *count == 0 {
                    rows.remove(row);
                    self.bytes -= row.len() + ENTRY;
                    self.rows -= 1;
                }
            }
            None => {
                rows.insert(row.into(), times);
                self.bytes += row.len() + ENTRY;
                self.rows += 1;
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
        let before = rows.len();
        rows.retain(|row, times| {
            *times = left.min(*times);
            left -= *times;
            gone += if *times > 0 { 0 } else { row.len() + ENTRY };
            *times > 0
        });
        self.rows -= before - rows.len();
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
        self.enter(self.keys.len());
        for group in &touched {
            if let Some(written) = self.written.get_mut(*group as usize) {
                self.changes.note(*group, written);
            }
        }
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
    /// A layer: the rows of groups with how often they count, and the keys of groups that have none any more.
    fn cut(&mut self, whole: bool) -> Result<Frozen> {
        let (listed, whole) = self.changes.cut(whole, self.groups.len());
        let rows = |g: &u32| self.groups.get(*g as usize);
        let (some, rest): (Vec<u32>, Vec<u32>) = listed.into_iter().partition(|g| rows(g).is_some_and(|r| !r.is_empty()));
        let of = || some.iter().filter_map(rows).flatten();
        let batch = self.decoded(of().map(|(row, _)| row.as_ref()))?;
        let times: Int64Array = of().map(|(_, times)| *times).collect::<Vec<i64>>().into();
        let batch = batch_with(&batch, Field::new(TIMES, DataType::Int64, false), Arc::new(times))?;
        let was = |g: &u32| self.written.get(*g as usize) == Some(&Written::Changed);
        let gone: Vec<u32> = rest.iter().copied().filter(|g| !whole && was(g)).collect();
        let keys = self.keys.columns(&gone)?;
        let gone = RecordBatch::try_new(Arc::new(self.schema.project(&self.at)?), keys)?;
        for (numbers, now) in [(&rest, Written::No), (&some, Written::Yes)] {
            for group in numbers {
                self.written.iter_mut().skip(*group as usize).take(1).for_each(|w| *w = now);
            }
        }
        let rows = LayerRows { written: (batch.num_rows() + gone.num_rows()) as u64, live: self.rows as u64 };
        let tags = [self.sent.tag()];
        let same = self.changes.said(&tags);
        if rows.written == 0 && (whole || same) {
            return Ok(if whole { Frozen::empty() } else { Frozen::layer(move || Ok(Layer { rows, ..Layer::default() })) });
        }
        let spare = self.spare.clone();
        Ok(Frozen::layer(move || {
            let mut bytes = spare.take();
            for batch in [ipc::tagged(&batch, tags)?, gone] {
                packed::push(&batch.schema(), &[batch], &mut bytes)?;
            }
            Ok(Layer { bytes, whole, rows, spare })
        }))
    }
    /// Loads the groups of a layer that are in no later one.
    fn load(&mut self, mut bytes: &[u8], mine: &dyn Fn(u16) -> bool) -> Result<bool> {
        let spec = Arc::clone(&self.spec);
        let name = &spec.order.name;
        let broken = || Error::Checkpoint(format!("the state of `{name}` lacks {TIMES}"));
        let (schema, batches) = packed::pop(&mut bytes)?;
        let batch = concat_batches(&schema, &batches)?;
        self.sent.restore(&batch, name)?;
        let times = batch.column_by_name(TIMES).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(broken)?;
        let (schema, gone) = packed::pop(&mut bytes)?;
        let gone = concat_batches(&schema, &gone)?;
        let columns = self.columns(&batch)?;
        let keys: Vec<ArrayRef> = self.at.iter().filter_map(|at| columns.get(*at)).cloned().collect();
        let (mut rows, none) = (rows_of(&keys, batch.num_rows(), mine)?, rows_of(gone.columns(), gone.num_rows(), mine)?);
        let found = !rows.is_empty() || !none.is_empty();
        if !self.keys.is_empty() {
            let mut known = Vec::new();
            self.keys.find_same(&keys, Kept::Some(&rows), &mut known)?;
            let mut known = known.into_iter();
            rows.retain(|_| known.next() == Some(NO_GROUP));
        }
        self.keys.insert(gone.columns(), Kept::Some(&none), &mut self.numbers)?;
        self.keys.insert(&keys, Kept::Some(&rows), &mut self.numbers)?;
        self.enter(self.keys.len());
        let encoded = self.encoded(&columns)?;
        let numbers = std::mem::take(&mut self.numbers);
        for (row, group) in rows.iter().zip(&numbers) {
            self.add(*group, encoded.row(*row as usize).data(), times.value(*row as usize));
            self.written.iter_mut().skip(*group as usize).take(1).for_each(|w| *w = Written::Yes);
        }
        self.numbers = numbers;
        Ok(found)
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
        self.written.clear();
        self.changes.forget();
        self.keys.clear();
        (self.bytes, self.rows) = (0, 0);
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.keys.bytes() + self.groups.capacity() * (size_of::<Sorted>() + 1) + self.changes.bytes() + self.spare.bytes() + self.bytes
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        self.cut(true)
    }
    fn snapshot_changes(&mut self, _epoch: u64) -> Result<Frozen> {
        self.cut(false)
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        self.restore_layers(&[&state.bytes], &|_| true).map(|_| ())
    }
    fn restore_layers(&mut self, layers: &[&[u8]], mine: &dyn Fn(u16) -> bool) -> Result<bool> {
        let mut found = false;
        for layer in layers.iter().rev() {
            found |= self.load(layer, mine)?;
        }
        self.changes.settled(self.groups.len());
        Ok(found)
    }
    fn release(&mut self, group: u16) {
        let all: Vec<u32> = (0..self.groups.len() as u32).collect();
        let Ok(of) = self.keys.columns(&all).and_then(|keys| key_groups(&keys, all.len())) else { return };
        for (rows, of) in self.groups.iter_mut().zip(of) {
            if of == group {
                self.bytes -= rows.keys().map(|row| row.len() + ENTRY).sum::<usize>();
                self.rows -= rows.len();
                rows.clear();
            }
        }
        self.changes.forget();
    }
}
