//! The states of all keys, and their way into checkpoints and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::types::{Int64Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt32Array, UInt64Array, cast::AsArray};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::buffer::{Buffer, Entry};
use super::every;
use crate::kernel::Origin;
use crate::operator::kept::{batch_with, positions};
use crate::operator::keys::{by_key_group, key_groups};
use crate::operator::{EventTime, GroupState, Keys, ipc};
use crate::record::{State, StateSchema};
use crate::{Error, Result};

/// The column of encoded states.
const STATE: &str = "sabot.state";
/// Metadata: the fields of the state struct as written, rows that the key group emitted, the watermark.
const FIELDS: &str = "sabot.fields";
const EMITTED: &str = "sabot.emitted";
const WATERMARK: &str = "sabot.watermark";
/// Columns of buffered rows.
const TIME: &str = "sabot.time";
const SOURCE: &str = "sabot.source";
const PARTITION: &str = "sabot.partition";
const SPLIT: &str = "sabot.split";
const ROW: &str = "sabot.row";

/// One state per key.
pub(super) struct States<S> {
    step: String,
    fields: Vec<FieldRef>,
    keys: Keys,
    states: Vec<S>,
}

impl<S: State> States<S> {
    pub(super) fn new(keys: &[String], input: &SchemaRef, step: &str) -> Result<Self> {
        let at = positions(input, keys, step)?;
        let fields: Vec<FieldRef> = at.iter().filter_map(|i| input.fields().get(*i)).cloned().collect();
        Ok(States { step: step.to_owned(), keys: Keys::new(&fields)?, fields, states: Vec::new() })
    }
    /// The numbers of the rows' states; a new key gets the default.
    pub(super) fn find(&mut self, keys: &[ArrayRef], rows: usize, out: &mut Vec<u32>) -> Result<()> {
        self.keys.insert(keys, every(rows), out)?;
        self.states.resize_with(self.keys.len(), S::default);
        Ok(())
    }
    pub(super) fn get(&mut self, number: u32) -> Option<&mut S> {
        self.states.get_mut(number as usize)
    }
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.states.capacity() * size_of::<S>()
    }
    /// Keys and encoded states.
    pub(super) fn cut(&self) -> Result<RecordBatch> {
        let all: Vec<u32> = (0..self.keys.len() as u32).collect();
        let mut columns = self.keys.columns(&all)?;
        let mut states = BinaryBuilder::with_capacity(all.len(), all.len() * 16);
        let mut bytes = Vec::new();
        for state in &self.states {
            bytes.clear();
            state.encode(&mut bytes);
            states.append_value(&bytes);
        }
        columns.push(Arc::new(states.finish()));
        let mut fields = self.fields.clone();
        fields.push(Arc::new(Field::new(STATE, DataType::Binary, false)));
        let written = serde_json::to_string(&S::schema()).map_err(|e| Error::internal(e.to_string()))?;
        let metadata = [(FIELDS.to_owned(), written)].into();
        Ok(RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, metadata)), columns)?)
    }
    /// Loads what [`cut`](Self::cut) wrote, perhaps in another version of the program.
    pub(super) fn load(&mut self, batch: &RecordBatch) -> Result<()> {
        let broken = |what: &str| Error::Checkpoint(format!("the state of `{}` {what}", self.step));
        let fields: StateSchema =
            ipc::tag(batch, FIELDS).and_then(|t| serde_json::from_str(t).ok()).ok_or_else(|| broken("does not say which fields it has"))?;
        let same = batch.num_columns() == self.fields.len() + 1
            && batch.schema_ref().fields().iter().zip(&self.fields).all(|(w, k)| w.name() == k.name() && w.data_type() == k.data_type());
        if !same {
            return Err(broken("was written for other key columns"));
        }
        let states = batch.column_by_name(STATE).and_then(|c| c.as_binary_opt::<i32>()).ok_or_else(|| broken("is missing"))?;
        let current = fields == S::schema();
        let mut numbers = Vec::new();
        self.find(batch.columns(), batch.num_rows(), &mut numbers)?;
        for (number, bytes) in numbers.iter().zip(states.iter()) {
            let mut bytes = bytes.unwrap_or_default();
            let state = if current { S::decode(&mut bytes)? } else { S::decode_from(&mut bytes, &fields)? };
            if let Some(slot) = self.get(*number) {
                *slot = state;
            }
        }
        Ok(())
    }
    pub(super) fn release(&mut self, group: u16) {
        let all: Vec<u32> = (0..self.keys.len() as u32).collect();
        let Ok(columns) = self.keys.columns(&all) else { return };
        let Ok(groups) = key_groups(&columns, all.len()) else { return };
        let keep: Vec<u32> = all.iter().zip(&groups).filter(|(_, g)| **g != group).map(|(i, _)| *i).collect();
        let Ok(kept) = self.keys.columns(&keep) else { return };
        self.keys.clear();
        let mut numbers = Vec::new();
        // the same keys were inserted before
        if self.keys.insert(&kept, every(keep.len()), &mut numbers).is_ok() {
            let mut of = groups.into_iter();
            self.states.retain(|_| of.next() != Some(group));
        }
    }
}

/// The state of each key group: a batch of keys and states, then one of buffered rows if there are any.
pub(super) fn write(states: &RecordBatch, keys: usize, buffer: &Buffer, emitted: &[u64], watermark: EventTime) -> Result<Vec<GroupState>> {
    let (order, ranges) = by_key_group(&key_groups(states.columns().get(..keys).unwrap_or(&[]), states.num_rows())?);
    let sorted = arrow_select::take::take_record_batch(states, &UInt32Array::from(order))?;
    let mut ranges: BTreeMap<u16, std::ops::Range<usize>> = ranges.into_iter().collect();
    let waiting = buffer.groups();
    let fields = ipc::tag(states, FIELDS).unwrap_or_default().to_owned();
    let mut out = Vec::new();
    for (group, emitted) in (0u16..).zip(emitted) {
        let range = match ranges.remove(&group) {
            Some(range) => range,
            None if *emitted > 0 || waiting.contains(&group) => 0..0,
            None => continue,
        };
        let tags =
            [(FIELDS.to_owned(), fields.clone()), (EMITTED.to_owned(), emitted.to_string()), (WATERMARK.to_owned(), watermark.to_string())];
        let mut bytes = Vec::new();
        ipc::push(&ipc::tagged(&sorted.slice(range.start, range.len()), tags)?, &mut bytes)?;
        if waiting.contains(&group) {
            let entries = buffer.group(group);
            let number =
                |f: fn(&Origin) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(entries.iter().map(|e| f(&e.origin)))) };
            let small =
                |f: fn(&Origin) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(entries.iter().map(|e| f(&e.origin)))) };
            let mut batch = buffer.gather(&entries)?;
            batch = batch_with(
                &batch,
                Field::new(TIME, DataType::Int64, false),
                Arc::new(Int64Array::from_iter_values(entries.iter().map(|e| e.time))),
            )?;
            batch = batch_with(&batch, Field::new(SOURCE, DataType::UInt32, false), small(|o| o.source))?;
            batch = batch_with(&batch, Field::new(PARTITION, DataType::UInt32, false), small(|o| o.partition))?;
            batch = batch_with(&batch, Field::new(SPLIT, DataType::UInt64, false), number(|o| o.split))?;
            batch = batch_with(&batch, Field::new(ROW, DataType::UInt64, false), number(|o| o.row))?;
            ipc::push(&batch, &mut bytes)?;
        }
        out.push(GroupState { group, bytes });
    }
    Ok(out)
}

/// What [`write`] wrote for one key group.
pub(super) struct Loaded {
    pub(super) states: RecordBatch,
    pub(super) emitted: u64,
    pub(super) watermark: EventTime,
    pub(super) buffered: Option<(RecordBatch, Vec<Entry>)>,
}

pub(super) fn read(state: &GroupState, step: &str) -> Result<Loaded> {
    let broken = || Error::Checkpoint(format!("the state of `{step}` is incomplete"));
    let mut bytes = state.bytes.as_slice();
    let states = ipc::pop(&mut bytes)?.ok_or_else(broken)?;
    let number = |name| ipc::tag(&states, name).and_then(|t| t.parse::<i64>().ok()).ok_or_else(broken);
    let (emitted, watermark) = (number(EMITTED)? as u64, number(WATERMARK)?);
    let mut buffered = None;
    if let Some(batch) = ipc::pop(&mut bytes)? {
        let small = |name| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<UInt32Type>()).ok_or_else(broken);
        let large = |name| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<UInt64Type>()).ok_or_else(broken);
        let times = batch.column_by_name(TIME).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(broken)?;
        let (sources, partitions, splits, rows) = (small(SOURCE)?, small(PARTITION)?, large(SPLIT)?, large(ROW)?);
        let numbers = sources.values().iter().zip(partitions.values()).zip(splits.values()).zip(rows.values());
        let entries = (0u32..).zip(times.values()).zip(numbers).map(|((row, time), (((source, partition), split), at))| {
            let origin = Origin { source: *source, partition: *partition, split: *split, row: *at };
            Entry { group: state.group, time: *time, origin, batch: 0, row }
        });
        let entries: Vec<Entry> = entries.collect();
        let columns: Vec<usize> = (0..batch.num_columns().saturating_sub(5)).collect();
        buffered = Some((batch.project(&columns)?, entries));
    }
    Ok(Loaded { states, emitted, watermark, buffered })
}
