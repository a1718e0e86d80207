//! The way of a keyed step's state into checkpoints and back.
//!
//! Each key group is a batch of keys and states in the order of their birth, then, where there are any, one of timers and one of
//! rows that wait for the watermark. How far time has come is kept beside them, once per instance.

use std::sync::Arc;

use arrow_array::types::{Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array, UInt64Array, cast::AsArray};
use arrow_schema::{DataType, Field, Schema};

use super::buffer::{Buffer, Entry};
use super::state::Cut;
use crate::kernel::Origin;
use crate::operator::kept::batch_with;
use crate::operator::key_ctx::By;
use crate::operator::{Delta, EventTime, GroupState, SHARED, ipc};
use crate::record::State;
use crate::{Error, Result};

/// The column of encoded states, when each was touched, and its number by birth.
pub(super) const STATE: &str = "sabot.state";
pub(super) const TOUCHED: &str = "sabot.touched";
pub(super) const BIRTH: &str = "sabot.birth";
/// Metadata: the fields of the state struct as written; rows that the key group emitted, to the second output too.
pub(super) const FIELDS: &str = "sabot.fields";
const EMITTED: &str = "sabot.emitted";
const EMITTED_SIDE: &str = "sabot.emitted_side";
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
    pub(super) buffer: Buffer,
    pub(super) emitted: [Vec<u64>; 2],
    pub(super) watermark: EventTime,
    pub(super) clock: EventTime,
}

/// Writes each key group that has changed, and names the others.
pub(super) fn write(held: Held) -> Result<Delta> {
    let Held { states: Cut { batch, rows, timers, written, used }, buffer, .. } = held;
    let batch = batch.batch()?;
    let waiting = buffer.groups();
    let fields = ipc::tag(&batch, FIELDS).unwrap_or_default().to_owned();
    let mut out = Delta::default();
    if (held.watermark, held.clock) != (EventTime::MIN, 0) {
        out.states.push(GroupState { group: SHARED, bytes: times(held.watermark, held.clock) });
    }
    let [main, side] = &held.emitted;
    for (group, (emitted, side)) in (0u16..).zip(main.iter().zip(side)) {
        if *emitted == 0 && *side == 0 && !used.contains(&group) && !waiting.contains(&group) {
            continue;
        }
        if written.get(usize::from(group)) != Some(&true) {
            out.unchanged.push(group);
            continue;
        }
        let range = rows.get(&group).cloned().unwrap_or_default();
        let tags = [(FIELDS, fields.clone()), (EMITTED, emitted.to_string()), (EMITTED_SIDE, side.to_string())];
        let mut bytes = Vec::new();
        let tags = tags.map(|(name, value)| (name.to_owned(), value));
        ipc::push(&ipc::tagged(&batch.slice(range.start, range.len()), tags)?, &mut bytes)?;
        if let Some(timers) = timers.get(&group) {
            ipc::push(&timer_batch(timers)?, &mut bytes)?;
        }
        if waiting.contains(&group) {
            ipc::push(&buffered_batch(&buffer, group)?, &mut bytes)?;
        }
        out.states.push(GroupState { group, bytes });
    }
    Ok(out)
}

/// How far time has come. It moves without a change of any key group, so it is not part of their bytes.
fn times(watermark: EventTime, clock: EventTime) -> Vec<u8> {
    let mut bytes = Vec::new();
    (watermark, clock).encode(&mut bytes);
    bytes
}

/// The watermark and the clock of an instance.
pub(super) fn read_times(state: &GroupState) -> Result<(EventTime, EventTime)> {
    State::decode(&mut state.bytes.as_slice())
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
    pub(super) buffered: Option<(RecordBatch, Vec<Entry>)>,
}

pub(super) fn read(state: &GroupState, step: &str) -> Result<Loaded> {
    let broken = || Error::Checkpoint(format!("the state of `{step}` is incomplete"));
    let mut bytes = state.bytes.as_slice();
    let states = ipc::pop(&mut bytes)?.ok_or_else(broken)?;
    let number = |name| ipc::tag(&states, name).and_then(|t| t.parse::<i64>().ok()).ok_or_else(broken);
    let emitted = [number(EMITTED)? as u64, number(EMITTED_SIDE)? as u64];
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
    Ok(Loaded { states, touched, timers, emitted, buffered })
}
