//! User functions with state per key.
//!
//! Without event time, rows are processed as they arrive: the runtime delivers source order per partition. With event
//! time they are buffered until the watermark has passed them, then processed by key group, in it by event time, then
//! source, partition, split and row: what a key sees, and the order of the output within a key group (the `split` of its
//! origin), does not depend on threads, morsels, or when watermarks came.

mod buffer;
mod state;

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use self::buffer::{Buffer, Entry};
use self::state::States;
use super::fault::guarded;
use super::kept::{batch_with, named, schema_with};
use super::{
    Account, END_OF_TIME, EventTime, Failure, Frozen, GroupState, Instance, Kept, KeyCtx, Operator, OperatorFactory, Output, Progress,
};
use crate::kernel::hash::KEY_GROUPS;
use crate::kernel::{Morsel, Origin, Selection};
use crate::record::{Accepted, Arena, Buffers, Env, Faults, Make, Missing, Record, Rows, Slot, State, Value, View, Writer, text_buffers};
use crate::{Error, Result};

/// Where a keyed function finds keys and time, and puts its result.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyedSpec {
    /// Stable id of the step, for messages.
    pub name: String,
    /// Key columns.
    pub keys: Vec<String>,
    /// The event-time column, a timestamp; `None` processes rows as they arrive.
    pub event_time: Option<String>,
    /// Added to event time, in microseconds: a window's result carries its end - 1.
    pub offset: i64,
    /// The column that is added, or replaced.
    pub output: String,
    /// Number of the plan node: the source of the output's origin, with event time.
    pub node: u32,
}

/// A function over the rows of a key: state `S`, rows `R`, result `V`; see the module's page.
pub struct Keyed<R, S, V, F> {
    spec: Arc<KeyedSpec>,
    input: SchemaRef,
    field: Field,
    call: Arc<F>,
    states: States<S>,
    buffer: Buffer,
    watermark: EventTime,
    /// Rows that each key group emitted.
    emitted: Vec<u64>,
    groups: Vec<u32>,
    kind: PhantomData<fn() -> (R, V)>,
}

impl<R, S, V, F> std::fmt::Debug for Keyed<R, S, V, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// What a run over a batch gave: the column, blank where a row has no output, and which rows have one.
struct Ran {
    column: ArrayRef,
    emitted: Selection,
}

impl<R, S, V, F> Keyed<R, S, V, F>
where
    R: Record,
    S: State,
    V: Value,
    F: for<'a> Fn(&mut S, &mut KeyCtx, &View<'a, R>, Make<'a>) -> Option<Slot<'a, V>> + Send + Sync + 'static,
{
    /// Instances over rows of schema `input`, hashed by the key columns.
    ///
    /// # Errors
    /// If a column does not exist, or cannot be a key or event time.
    pub fn factory(spec: KeyedSpec, input: &SchemaRef, call: F) -> Result<Arc<dyn OperatorFactory>> {
        let (spec, call, input) = (Arc::new(spec), Arc::new(call), Arc::clone(input));
        Self::build(&spec, &input, &call)?;
        Ok(Arc::new(move |_: Instance| Ok(Box::new(Self::build(&spec, &input, &call)?) as Box<dyn Operator>)))
    }
    fn field(spec: &KeyedSpec) -> Field {
        Field::new(&spec.output, V::data_type(), V::NULLABLE)
    }
    fn build(spec: &Arc<KeyedSpec>, input: &SchemaRef, call: &Arc<F>) -> Result<Self> {
        Ok(Keyed {
            input: Arc::clone(input),
            field: Self::field(spec),
            call: Arc::clone(call),
            states: States::new(&spec.keys, input, &spec.name)?,
            buffer: Buffer::new(spec.event_time.as_deref(), input, &spec.name)?,
            watermark: EventTime::MIN,
            emitted: vec![0; usize::from(KEY_GROUPS)],
            groups: Vec::new(),
            kind: PhantomData,
            spec: Arc::clone(spec),
        })
    }
    /// Calls the function on the rows of a dense batch, in order.
    fn run(
        &mut self,
        batch: &RecordBatch,
        time: impl Fn(usize) -> Option<EventTime>,
        place: impl Fn(usize) -> (Origin, usize),
    ) -> Result<Ran> {
        let keys = named(batch, &self.spec.keys, &self.spec.name)?;
        let rows = batch.num_rows();
        self.states.find(&keys, rows, &mut self.groups)?;
        let accepted = Accepted::of::<R>(batch, Missing::Blank, &self.spec.name)?;
        let mut buffers = Vec::new();
        accepted.arrays().for_each(|a| text_buffers(a, &mut buffers));
        let (arena, faults, at) = (Arena::default(), Faults::default(), Cell::new(0));
        let mut writer = V::Write::new(rows);
        let mut words = vec![0u64; rows.div_ceil(64)];
        let (call, groups, states) = (&self.call, &self.groups, &mut self.states);
        let result = guarded(&at, || {
            let (make, env, view) = (Make::new(!0, &arena, Some(&faults)), Env::new(&buffers, &arena), Rows::<R>::new(&accepted));
            for (row, group) in groups.iter().enumerate() {
                let (Some(view), Some(state)) = (view.get(row), states.get(*group)) else { continue };
                at.set(row);
                faults.at(row);
                let Some(slot) = call(state, &mut KeyCtx::new(time(row)), &view, make) else { continue };
                let mut bad = false;
                let value = slot.take(&mut bad);
                if bad {
                    let message = faults.take().into_iter().next().map_or_else(String::new, |f| f.message);
                    return Err(Failure::row(row, message));
                }
                writer.put(row, value, &env);
                if let Some(word) = words.get_mut(row / 64) {
                    *word |= 1 << (row % 64);
                }
            }
            Ok(())
        });
        if let Err(failure) = result {
            let (origin, row) = match &failure {
                Failure::Row { row: Some(row), .. } => place(*row),
                _ => (Origin::default(), 0),
            };
            // the row of the batch becomes the row of its split
            let failure = match failure {
                Failure::Row { what, operator, .. } => Failure::Row { row: Some(row), what, operator },
                other => other,
            };
            return Err(failure.at(&self.spec.name, Some(origin)));
        }
        let column = writer.finish(rows, &Buffers::new(buffers, arena));
        Ok(Ran { column, emitted: Selection::new(words) })
    }
    fn arrival(&mut self, morsel: &Morsel, batch: &RecordBatch, out: &mut dyn Output) -> Result<()> {
        let origin = morsel.origin;
        let list: Option<Vec<usize>> = morsel.selection.as_ref().map(|s| s.rows().collect());
        let ran = self.run(batch, |_| None, |row| (origin, list.as_ref().and_then(|l| l.get(row).copied()).unwrap_or(row)))?;
        let (rows, used) = (batch.num_rows(), ran.emitted.count());
        out.account(Account { used: used as u64, filtered: (rows - used) as u64, ..Account::default() });
        if used > 0 {
            let selection = (used < rows).then_some(ran.emitted);
            out.emit(Morsel { batch: batch_with(batch, self.field.clone(), ran.column)?, selection, origin });
        }
        Ok(())
    }
    fn deliver(&mut self, until: EventTime, out: &mut dyn Output) -> Result<()> {
        let due = self.buffer.due(until);
        for piece in due.chunks(buffer::PIECE) {
            let batch = self.buffer.gather(piece)?;
            let at = |row: usize| piece.get(row).copied().unwrap_or_default();
            let ran = self.run(&batch, |row| Some(at(row).time), |row| (at(row).origin, 0))?;
            let (rows, used) = (batch.num_rows(), ran.emitted.count());
            out.account(Account { used: used as u64, filtered: (rows - used) as u64, held: -(rows as i64), ..Account::default() });
            let groups: Vec<u16> = ran.emitted.rows().map(|row| at(row).group).collect();
            let full = Morsel {
                batch: batch_with(&batch, self.field.clone(), ran.column)?,
                selection: Some(ran.emitted),
                origin: Origin::default(),
            };
            let dense = full.compact()?;
            let mut start = 0;
            for run in groups.chunk_by(|a, b| a == b) {
                let Some(group) = run.first() else { continue };
                if let Some(emitted) = self.emitted.get_mut(usize::from(*group)) {
                    let origin = Origin { source: self.spec.node, partition: 0, split: u64::from(*group), row: *emitted };
                    *emitted += run.len() as u64;
                    out.emit(Morsel::new(dense.slice(start, run.len()), origin));
                }
                start += run.len();
            }
        }
        self.buffer.settle()
    }
}

impl<R, S, V, F> Operator for Keyed<R, S, V, F>
where
    R: Record,
    S: State,
    V: Value,
    F: for<'a> Fn(&mut S, &mut KeyCtx, &View<'a, R>, Make<'a>) -> Option<Slot<'a, V>> + Send + Sync + 'static,
{
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = morsel.compact()?;
        if batch.num_rows() == 0 {
            return Ok(Progress::Done);
        }
        let Some(column) = &self.spec.event_time else {
            self.arrival(&morsel, &batch, out)?;
            return Ok(Progress::Done);
        };
        let times = batch.column_by_name(column).ok_or_else(|| super::kept::no_column(column, &self.spec.name))?;
        let times: Vec<EventTime> = super::instants::micros(times)?.iter().map(|t| t.saturating_add(self.spec.offset)).collect();
        let groups = super::keys::key_groups(&named(&batch, &self.spec.keys, &self.spec.name)?, batch.num_rows())?;
        let numbers: Vec<usize> = match &morsel.selection {
            Some(s) => s.rows().collect(),
            None => (0..batch.num_rows()).collect(),
        };
        let mut late = 0u64;
        let mut entries = Vec::with_capacity(batch.num_rows());
        for (index, ((time, group), number)) in times.iter().zip(groups).zip(numbers).enumerate() {
            if *time < self.watermark {
                late += 1;
                continue;
            }
            let origin = Origin { row: morsel.origin.row + number as u64, ..morsel.origin };
            entries.push(Entry { group, time: *time, origin, batch: 0, row: index as u32 });
        }
        out.account(Account { late, held: entries.len() as i64, ..Account::default() });
        self.buffer.push(batch, entries);
        Ok(Progress::Done)
    }
    fn watermark(&mut self, _port: usize, time: EventTime, out: &mut dyn Output) -> Result<()> {
        self.watermark = self.watermark.max(time);
        if self.spec.event_time.is_some() { self.deliver(self.watermark, out) } else { Ok(()) }
    }
    fn hold(&self) -> EventTime {
        self.buffer.earliest().unwrap_or(END_OF_TIME)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        self.deliver(END_OF_TIME, out)?;
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.states.bytes() + self.buffer.bytes()
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let (states, buffer) = (self.states.cut()?, self.buffer.cut());
        let (keys, emitted, watermark) = (self.spec.keys.len(), self.emitted.clone(), self.watermark);
        Ok(Frozen::new(move || state::write(&states, keys, &buffer, &emitted, watermark)))
    }
    fn restore(&mut self, written: &GroupState) -> Result<()> {
        let loaded = state::read(written, &self.spec.name)?;
        self.states.load(&loaded.states)?;
        self.watermark = self.watermark.max(loaded.watermark);
        if let Some(slot) = self.emitted.get_mut(usize::from(written.group)) {
            *slot = loaded.emitted;
        }
        if let Some((batch, entries)) = loaded.buffered {
            let batch = batch
                .with_schema(Arc::clone(&self.input))
                .map_err(|e| Error::Checkpoint(format!("the buffered rows of `{}` have other columns: {e}", self.spec.name)))?;
            self.buffer.push(batch, entries);
        }
        Ok(())
    }
    fn release(&mut self, group: u16) {
        self.states.release(group);
        self.buffer.release(group);
        if let Some(slot) = self.emitted.get_mut(usize::from(group)) {
            *slot = 0;
        }
    }
}

/// The columns of the result of a [`Keyed`] whose values have this type.
pub fn keyed_schema(spec: &KeyedSpec, data_type: DataType, nullable: bool, input: &Schema) -> SchemaRef {
    schema_with(input, Field::new(&spec.output, data_type, nullable))
}

/// All rows of a batch.
fn every(rows: usize) -> Kept<'static> {
    Kept::Range(0, rows)
}
