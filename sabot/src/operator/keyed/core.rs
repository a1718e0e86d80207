//! What all keyed steps have: states, rows that wait for the watermark, a clock, and rows of their own on the way out.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::KeyedSpec;
use super::buffer::{Buffer, Entry};
use super::lives::Lives;
use super::saved::{self, Held};
use super::state::States;
use crate::kernel::hash::KEY_GROUPS;
use crate::kernel::{Morsel, Origin};
use crate::operator::kept::named;
use crate::operator::key_ctx::{By, NoSide};
use crate::operator::{Account, END_OF_TIME, EventTime, Frozen, GroupState, Output, Outside, Pending, SHARED};
use crate::record::{Buffers, Env, State, Value, Writer};
use crate::{Error, Result};

/// The column of event time in rows of a keyed operator's own.
pub(crate) const TIME: &str = "time";
/// The column of the second output.
pub(crate) const SIDE: &str = "value";
/// Keys that expire by the clock are dropped at most this part of their time to live too late, so that they leave together.
const SLACK: i64 = 64;

/// The rows of a second output.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a row of a second output",
    label = "no Arrow mapping for this type",
    note = "the rows of `KeyCtx<..>` are column values: bool, integers, floats, `Str`, `Bytes`, dates and times, or a `#[derive(Record)]` struct"
)]
pub trait SideOutput: Send + Sized + 'static {
    /// The type of their column; of no rows, any, so that asking for them is one error.
    type V: Value;
    /// Whether there is one.
    const IS: bool;
    /// The rows as a column.
    fn column(rows: Vec<Self>) -> Option<(Field, ArrayRef)>;
}
impl SideOutput for NoSide {
    type V = bool;
    const IS: bool = false;
    fn column(_: Vec<Self>) -> Option<(Field, ArrayRef)> {
        None
    }
}
impl<V: Value> SideOutput for V {
    type V = V;
    const IS: bool = true;
    fn column(rows: Vec<Self>) -> Option<(Field, ArrayRef)> {
        Some((Field::new(SIDE, V::data_type(), V::NULLABLE), column_of(&rows)))
    }
}

/// Owned values as a column.
pub(super) fn column_of<V: Value>(values: &[V]) -> ArrayRef {
    let mut writer = V::Write::new(values.len());
    for (at, value) in values.iter().enumerate() {
        writer.put(at, value.borrow(), &Env::COPY);
    }
    writer.finish(values.len(), &Buffers::default())
}

/// Whose row it is that an operator made, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose {
    pub(super) number: u32,
    pub(super) group: u16,
    pub(super) time: EventTime,
}

/// Rows of an operator's own, before they are columns.
#[derive(Debug)]
pub(super) struct Outbox<V> {
    pub(super) whose: Vec<Whose>,
    pub(super) values: Vec<V>,
}
impl<V> Default for Outbox<V> {
    fn default() -> Self {
        Outbox { whose: Vec::new(), values: Vec::new() }
    }
}
impl<V> Outbox<V> {
    /// The values that were just added are rows of this key.
    #[inline]
    pub(super) fn mark(&mut self, whose: Whose) {
        self.whose.resize(self.values.len(), whose);
    }
}

/// The clock of a step that needs one.
#[derive(Default)]
struct Clock {
    wanted: bool,
    outside: Option<Arc<dyn Outside>>,
    /// What a checkpoint said. The clock does not go back behind it.
    saved: EventTime,
    skew: i64,
    /// When the task is woken.
    armed: Option<EventTime>,
}

pub(super) struct Core<S> {
    pub(super) spec: Arc<KeyedSpec>,
    input: SchemaRef,
    pub(super) states: States<S>,
    pub(super) buffer: Buffer,
    pub(super) watermark: EventTime,
    /// Rows that each key group emitted, to the first and the second output.
    emitted: [Vec<u64>; 2],
    clock: Clock,
}

impl<S: State> Core<S> {
    pub(super) fn new(spec: &Arc<KeyedSpec>, input: &SchemaRef, timers: bool, clock_timers: bool) -> Result<Self> {
        let lives = States::<S>::lives(spec.ttl, timers || clock_timers);
        let none = || vec![0; usize::from(KEY_GROUPS)];
        Ok(Core {
            input: Arc::clone(input),
            states: States::new(&spec.keys, input, &spec.name, lives)?,
            buffer: Buffer::new(spec.event_time.as_deref(), input, &spec.name)?,
            watermark: EventTime::MIN,
            emitted: [none(), none()],
            clock: Clock { wanted: clock_timers || spec.ttl.is_some_and(|t| t.clock), ..Clock::default() },
            spec: Arc::clone(spec),
        })
    }

    /// Takes rows that wait for the watermark; `column` is their event time.
    pub(super) fn take_in(&mut self, column: &str, morsel: &Morsel, batch: RecordBatch, out: &mut dyn Output) -> Result<()> {
        let times = batch.column_by_name(column).ok_or_else(|| crate::operator::kept::no_column(column, &self.spec.name))?;
        let times = crate::operator::instants::micros(times)?;
        let groups = crate::operator::keys::key_groups(&named(&batch, &self.spec.keys, &self.spec.name)?, batch.num_rows())?;
        let numbers: Vec<usize> = match &morsel.selection {
            Some(s) => s.rows().collect(),
            None => (0..batch.num_rows()).collect(),
        };
        let mut late = 0u64;
        let mut entries = Vec::with_capacity(batch.num_rows());
        for (index, ((time, group), number)) in times.iter().zip(groups).zip(numbers).enumerate() {
            let time = time.saturating_add(self.spec.offset);
            if time < self.watermark {
                late += 1;
                continue;
            }
            let origin = Origin { row: morsel.origin.row + number as u64, ..morsel.origin };
            entries.push(Entry { group, time, origin, batch: 0, row: index as u32 });
        }
        out.account(Account { late, held: entries.len() as i64, ..Account::default() });
        entries.iter().for_each(|e| self.states.changed.mark(e.group));
        self.buffer.push(batch, entries);
        Ok(())
    }
    pub(super) fn hold(&self) -> EventTime {
        let timer = self.states.lives.as_ref().and_then(|l| l.next_timer(By::Event));
        self.buffer.earliest().unwrap_or(END_OF_TIME).min(timer.unwrap_or(END_OF_TIME))
    }

    /// When a key is touched by a row or timer of this event time.
    #[inline]
    pub(super) fn touch(&self, time: Option<EventTime>, now: Option<EventTime>) -> EventTime {
        let event = if self.spec.ttl.is_some_and(|t| t.clock) { None } else { time };
        event.or(now).unwrap_or_default()
    }
    /// The clock, if the step needs one.
    pub(super) fn now(&self) -> Option<EventTime> {
        let Clock { wanted, outside, saved, skew, .. } = &self.clock;
        wanted.then(|| outside.as_ref().map_or(*saved, |o| i64::try_from(o.wall().as_micros()).unwrap_or(i64::MAX).saturating_add(*skew)))
    }
    pub(super) fn attach(&mut self, outside: Arc<dyn Outside>) {
        if self.clock.wanted {
            self.clock.outside = Some(outside);
            self.clock.skew = 0;
            self.clock.skew = self.now().map_or(0, |now| (self.clock.saved - now).max(0));
            self.arm();
        }
    }
    /// Asks to be woken when the next thing is due by the clock.
    pub(super) fn arm(&mut self) {
        let (Some(now), Some(lives)) = (self.now(), &self.states.lives) else { return };
        let death =
            lives.next_death().filter(|_| lives.by_clock()).map(|at| at.saturating_add(self.spec.ttl.map_or(0, |t| t.micros / SLACK)));
        let Some(due) = [lives.next_timer(By::Clock), death].into_iter().flatten().min() else { return };
        if self.clock.armed.is_none_or(|armed| armed > due)
            && let Some(outside) = &self.clock.outside
        {
            self.clock.armed = Some(due);
            outside.wake_after(Duration::from_micros(u64::try_from(due.saturating_sub(now)).unwrap_or(0)));
        }
    }
    pub(super) fn pending(&self) -> Pending {
        match (self.clock.armed, self.now()) {
            (Some(armed), Some(now)) if armed <= now => Pending::Ready,
            _ => Pending::Nothing,
        }
    }
    /// The time of a wake-up; another one may be asked for.
    pub(super) fn awake(&mut self) -> Option<EventTime> {
        let now = self.now()?;
        self.clock.armed = self.clock.armed.filter(|armed| *armed > now);
        Some(now)
    }

    /// Drops state that is dead at this event time, or by the clock; frees memory; asks to be woken.
    pub(super) fn settle(&mut self, event: Option<EventTime>, out: &mut dyn Output) -> Result<()> {
        let by_clock = self.states.lives.as_ref().map(Lives::by_clock);
        match by_clock {
            Some(true) => self.now().into_iter().for_each(|now| self.states.sweep(now)),
            Some(false) => event.into_iter().for_each(|time| self.states.sweep(time)),
            None => return Ok(()),
        }
        let died = self.states.lives.as_mut().map_or(0, Lives::take_died);
        if died > 0 {
            out.account(Account { expired: died, ..Account::default() });
        }
        self.states.compact()?;
        self.arm();
        Ok(())
    }

    /// Emits rows of the operator's own: key columns, `column`, and event time where the stream has it. `place` is where they belong;
    /// rows that stem from no place leave by key group.
    pub(super) fn emit_own(
        &mut self,
        whose: &[Whose],
        (field, column): (Field, ArrayRef),
        second: bool,
        place: Option<Origin>,
        out: &mut dyn Output,
    ) -> Result<()> {
        if whose.is_empty() {
            return Ok(());
        }
        let numbers: Vec<u32> = whose.iter().map(|w| w.number).collect();
        let mut columns = self.states.columns(&numbers)?;
        columns.push(column);
        let timed = self.spec.event_time.is_some();
        if timed {
            columns.push(Arc::new(TimestampMicrosecondArray::from_iter_values(whose.iter().map(|w| w.time))));
        }
        let batch = RecordBatch::try_new(own_schema(self.states.fields().iter().map(|f| f.as_ref().clone()), field, timed), columns)?;
        if second {
            out.account(Account { side: whose.len() as u64, ..Account::default() });
        }
        let mut send = |batch, origin| {
            let morsel = Morsel::new(batch, origin);
            if second { out.emit_failed(morsel) } else { out.emit(morsel) }
        };
        if let Some(origin) = place {
            send(batch, origin);
            return Ok(());
        }
        let emitted = self.emitted.get_mut(usize::from(second));
        let Some(emitted) = emitted else { return Ok(()) };
        let mut start = 0;
        for run in whose.chunk_by(|a, b| a.group == b.group) {
            let Some(first) = run.first() else { continue };
            if let Some(emitted) = emitted.get_mut(usize::from(first.group)) {
                let origin = Origin { source: self.spec.node, partition: 0, split: u64::from(first.group), row: *emitted };
                *emitted += run.len() as u64;
                send(batch.slice(start, run.len()), origin);
            }
            start += run.len();
        }
        Ok(())
    }
    /// Where the next rows of a key group belong.
    pub(super) fn next_place(&mut self, group: u16, rows: usize) -> Option<Origin> {
        let [emitted, _] = &mut self.emitted;
        let emitted = emitted.get_mut(usize::from(group))?;
        let origin = Origin { source: self.spec.node, partition: 0, split: u64::from(group), row: *emitted };
        *emitted += rows as u64;
        Some(origin)
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.states.bytes() + self.buffer.bytes()
    }
    /// A cut of all key groups, or of those that have changed since the last one.
    pub(super) fn snapshot(&mut self, all: bool) -> Result<Frozen> {
        let held = Held {
            states: self.states.cut(all)?,
            buffer: self.buffer.cut(),
            emitted: self.emitted.clone(),
            watermark: self.watermark,
            clock: self.now().unwrap_or(self.clock.saved),
        };
        Ok(Frozen::changes(move || saved::write(held)))
    }
    pub(super) fn restore(&mut self, written: &GroupState) -> Result<()> {
        if written.group == SHARED {
            let (watermark, clock) = saved::read_times(written)?;
            self.watermark = self.watermark.max(watermark);
            self.clock.saved = self.clock.saved.max(clock);
            return Ok(());
        }
        let loaded = saved::read(written, &self.spec.name)?;
        let by_clock = self.states.lives.as_ref().is_some_and(Lives::by_clock);
        self.states.load(written.group, &loaded, if by_clock { self.clock.saved } else { self.watermark })?;
        for (emitted, loaded) in self.emitted.iter_mut().zip(loaded.emitted) {
            if let Some(slot) = emitted.get_mut(usize::from(written.group)) {
                *slot = loaded;
            }
        }
        if let Some((batch, entries)) = loaded.buffered {
            let batch = batch
                .with_schema(Arc::clone(&self.input))
                .map_err(|e| Error::Checkpoint(format!("the buffered rows of `{}` have other columns: {e}", self.spec.name)))?;
            self.buffer.push(batch, entries);
        }
        Ok(())
    }
    pub(super) fn release(&mut self, group: u16) {
        self.states.release(group);
        self.buffer.release(group);
        for emitted in &mut self.emitted {
            if let Some(slot) = emitted.get_mut(usize::from(group)) {
                *slot = 0;
            }
        }
    }
}

/// The columns of rows of an operator's own.
pub(crate) fn own_schema(keys: impl Iterator<Item = Field>, value: Field, timed: bool) -> SchemaRef {
    let time = timed.then(|| Field::new(TIME, DataType::Timestamp(TimeUnit::Microsecond, None), false));
    Arc::new(Schema::new(keys.chain([value]).chain(time).collect::<Vec<_>>()))
}
