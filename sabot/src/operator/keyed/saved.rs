//! The way of a keyed step's state into checkpoints and back.
//!
//! Each key group is a batch of keys and states in the order of their birth, then, where there are any, one of timers and one of
//! rows that wait for the watermark.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::{Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array, UInt64Array, cast::AsArray};
use arrow_schema::{DataType, Field, Schema};

use super::buffer::{Buffer, Entry};
use super::state::Cut;
use crate::kernel::Origin;
use crate::operator::kept::batch_with;
use crate::operator::key_ctx::By;
use crate::operator::keys::{by_key_group, key_groups};
use crate::operator::{EventTime, GroupState, ipc};
use crate::{Error, Result};

/// The column of encoded states, when each was touched, and its number by birth.
pub(super) const STATE: &str = "sabot.state";
pub(super) const TOUCHED: &str = "sabot.touched";
pub(super) const BIRTH: &str = "sabot.birth";
/// Metadata: the fields of the state struct as written; rows that the key group emitted, to the second output too; the watermark, and
/// the clock.
pub(super) const FIELDS: &str = "sabot.fields";
const EMITTED: &str = "sabot.emitted";
const EMITTED_SIDE: &str = "sabot.emitted_side";
const WATERMARK: &str = "sabot.watermark";
const CLOCK: &str = "sabot.clock";
/// Columns of timers: row of the key, kind. The first tells them from buffered rows.
const KEY: &str = "sabot.key";
const BY_CLOCK: &str = "sabot.by_clock";
/// Columns of buffered rows.
const TIME: &str = "sabot.time";
const SOURCE: &str = "sabot.source";
const PARTITION: &str = "sabot.partition";
const SPLIT: &str = "sabot.split";
const ROW: &str = "sabot.row";

/// What a keyed step holds.
pub(super) struct Held {
    pub(super) states: Cut,
    /// Number of key columns.
    pub(super) keys: usize,
    pub(super) buffer: Buffer,
    pub(super) emitted: [Vec<u64>; 2],
    pub(super) watermark: EventTime,
    pub(super) clock: EventTime,
}

/// Writes each key group.
pub(super) fn write(held: &Held) -> Result<Vec<GroupState>> {
    let Held { states: Cut { batch: states, timers }, keys, buffer, .. } = held;
    let rows = states.num_rows();
    let groups = key_groups(states.columns().get(..*keys).unwrap_or(&[]), rows)?;
    let (mut order, ranges) = by_key_group(&groups);
    if let Some(births) = states.column_by_name(BIRTH).and_then(|c| c.as_primitive_opt::<UInt64Type>()) {
        let key = |row: &u32| (groups.get(*row as usize).copied(), births.values().get(*row as usize).copied());
        order.sort_by_key(key);
    }
    let mut of_group: BTreeMap<u16, Vec<(u32, By, EventTime)>> = BTreeMap::new();
    if !timers.is_empty() {
        let mut place = vec![(0u16, 0u32); rows];
        for (group, range) in &ranges {
            for (at, row) in (0u32..).zip(order.get(range.clone()).unwrap_or(&[])) {
                if let Some(slot) = place.get_mut(*row as usize) {
                    *slot = (*group, at);
                }
            }
        }
        for (row, by, at) in timers {
            let (group, row) = place.get(*row as usize).copied().unwrap_or_default();
            of_group.entry(group).or_default().push((row, *by, *at));
        }
    }
    let sorted = arrow_select::take::take_record_batch(states, &UInt32Array::from(order))?;
    let mut ranges: BTreeMap<u16, std::ops::Range<usize>> = ranges.into_iter().collect();
    let waiting = buffer.groups();
    let fields = ipc::tag(states, FIELDS).unwrap_or_default().to_owned();
    let mut out = Vec::new();
    let [main, side] = &held.emitted;
    for (group, (emitted, side)) in (0u16..).zip(main.iter().zip(side)) {
        let range = match ranges.remove(&group) {
            Some(range) => range,
            None if *emitted > 0 || *side > 0 || waiting.contains(&group) => 0..0,
            None => continue,
        };
        let tags = [
            (FIELDS, fields.clone()),
            (EMITTED, emitted.to_string()),
            (EMITTED_SIDE, side.to_string()),
            (WATERMARK, held.watermark.to_string()),
            (CLOCK, held.clock.to_string()),
        ];
        let mut bytes = Vec::new();
        let tags = tags.map(|(name, value)| (name.to_owned(), value));
        ipc::push(&ipc::tagged(&sorted.slice(range.start, range.len()), tags)?, &mut bytes)?;
        if let Some(timers) = of_group.remove(&group) {
            ipc::push(&timer_batch(&timers)?, &mut bytes)?;
        }
        if waiting.contains(&group) {
            ipc::push(&buffered_batch(buffer, group)?, &mut bytes)?;
        }
        out.push(GroupState { group, bytes });
    }
    Ok(out)
}

fn timer_batch(timers: &[(u32, By, EventTime)]) -> Result<RecordBatch> {
    let field = |name, data_type| Field::new(name, data_type, false);
    let schema = Schema::new(vec![field(KEY, DataType::UInt32), field(TIME, DataType::Int64), field(BY_CLOCK, DataType::Boolean)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(timers.iter().map(|t| t.0))),
        Arc::new(Int64Array::from_iter_values(timers.iter().map(|t| t.2))),
        Arc::new(timers.iter().map(|t| Some(t.1 == By::Clock)).collect::<BooleanArray>()),
    ];
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

fn buffered_batch(buffer: &Buffer, group: u16) -> Result<RecordBatch> {
    let entries = buffer.group(group);
    let number = |f: fn(&Origin) -> u64| -> ArrayRef { Arc::new(UInt64Array::from_iter_values(entries.iter().map(|e| f(&e.origin)))) };
    let small = |f: fn(&Origin) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(entries.iter().map(|e| f(&e.origin)))) };
    let times: ArrayRef = Arc::new(Int64Array::from_iter_values(entries.iter().map(|e| e.time)));
    let mut batch = buffer.gather(&entries)?;
    for (name, column) in [
        (TIME, times),
        (SOURCE, small(|o| o.source)),
        (PARTITION, small(|o| o.partition)),
        (SPLIT, number(|o| o.split)),
        (ROW, number(|o| o.row)),
    ] {
        batch = batch_with(&batch, Field::new(name, column.data_type().clone(), false), column)?;
    }
    Ok(batch)
}

/// What [`write`] wrote for one key group.
pub(super) struct Loaded {
    pub(super) states: RecordBatch,
    /// When each state was touched; empty if it did not matter.
    pub(super) touched: Vec<EventTime>,
    pub(super) timers: Vec<(u32, By, EventTime)>,
    pub(super) emitted: [u64; 2],
    pub(super) watermark: EventTime,
    pub(super) clock: EventTime,
    pub(super) buffered: Option<(RecordBatch, Vec<Entry>)>,
}

impl Loaded {
    /// The time at which it was written.
    pub(super) fn began(&self, clock: bool) -> EventTime {
        if clock { self.clock } else { self.watermark }
    }
}

pub(super) fn read(state: &GroupState, step: &str) -> Result<Loaded> {
    let broken = || Error::Checkpoint(format!("the state of `{step}` is incomplete"));
    let mut bytes = state.bytes.as_slice();
    let states = ipc::pop(&mut bytes)?.ok_or_else(broken)?;
    let number = |name| ipc::tag(&states, name).and_then(|t| t.parse::<i64>().ok()).ok_or_else(broken);
    let emitted = [number(EMITTED)? as u64, number(EMITTED_SIDE)? as u64];
    let (watermark, clock) = (number(WATERMARK)?, number(CLOCK)?);
    let longs = |batch: &RecordBatch, name: &str| -> Option<Vec<i64>> {
        Some(batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()?.values().to_vec())
    };
    let touched = longs(&states, TOUCHED).unwrap_or_default();
    let (mut timers, mut buffered) = (Vec::new(), None);
    while let Some(batch) = ipc::pop(&mut bytes)? {
        let small = |name| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<UInt32Type>()).ok_or_else(broken);
        let large = |name| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<UInt64Type>()).ok_or_else(broken);
        let times = longs(&batch, TIME).ok_or_else(broken)?;
        if let Ok(keys) = small(KEY) {
            let clocks = batch.column_by_name(BY_CLOCK).and_then(|c| c.as_boolean_opt()).ok_or_else(broken)?;
            let by = |clock| if clock == Some(true) { By::Clock } else { By::Event };
            timers.extend(keys.values().iter().zip(clocks.iter()).zip(&times).map(|((key, clock), at)| (*key, by(clock), *at)));
            continue;
        }
        let (sources, partitions, splits, rows) = (small(SOURCE)?, small(PARTITION)?, large(SPLIT)?, large(ROW)?);
        let numbers = sources.values().iter().zip(partitions.values()).zip(splits.values()).zip(rows.values());
        let entries = (0u32..).zip(&times).zip(numbers).map(|((row, time), (((source, partition), split), at))| {
            let origin = Origin { source: *source, partition: *partition, split: *split, row: *at };
            Entry { group: state.group, time: *time, origin, batch: 0, row }
        });
        let entries: Vec<Entry> = entries.collect();
        let columns: Vec<usize> = (0..batch.num_columns().saturating_sub(5)).collect();
        buffered = Some((batch.project(&columns)?, entries));
    }
    Ok(Loaded { states, touched, timers, emitted, watermark, clock, buffered })
}
