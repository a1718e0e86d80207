//! User functions with state per key: `fn bursts(run: &mut Run, ..) -> Option<u32>`.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, SchemaRef};

use super::buffer::PIECE;
use super::core::{Core, Outbox, Whose};
use super::{KeyedSpec, SideOutput};
use crate::Result;
use crate::kernel::{Morsel, Origin, Selection};
use crate::operator::fault::guarded;
use crate::operator::kept::{batch_with, named};
use crate::operator::key_ctx::no_timer;
use crate::operator::keys::key_groups;
use crate::operator::{
    Account, END_OF_TIME, EventTime, Failure, Frozen, GroupState, Instance, KeyCtx, Operator, OperatorFactory, Output, Outside, Pending,
    Progress, StateDisk,
};
use crate::record::{Accepted, Arena, Buffers, Env, Faults, Make, Missing, Record, Rows, Slot, State, Value, View, Writer, text_buffers};

/// A function over the rows of a key: state `S`, rows `R`, result `V`, second output `X`; see the module's page.
pub struct Keyed<R, S, X, V, F> {
    core: Core<S>,
    field: Field,
    call: Arc<F>,
    ctx: KeyCtx<X>,
    numbers: Vec<u32>,
    kind: PhantomData<fn() -> (R, V)>,
}

impl<R, S, X, V, F> std::fmt::Debug for Keyed<R, S, X, V, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").field("spec", &self.core.spec).finish_non_exhaustive()
    }
}

/// What a run over a batch gave: the column, blank where a row has no output, and which rows have one.
struct Ran {
    column: ArrayRef,
    emitted: Selection,
}

impl<R, S, X, V, F> Keyed<R, S, X, V, F>
where
    R: Record,
    S: State,
    X: SideOutput,
    V: Value,
    F: for<'a> Fn(&mut S, &mut KeyCtx<X>, &View<'a, R>, Make<'a>) -> Option<Slot<'a, V>> + Send + Sync + 'static,
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
    fn build(spec: &Arc<KeyedSpec>, input: &SchemaRef, call: &Arc<F>) -> Result<Self> {
        Ok(Keyed {
            field: Field::new(&spec.output, V::data_type(), V::NULLABLE),
            call: Arc::clone(call),
            core: Core::new(spec, input, false, false)?,
            ctx: KeyCtx::new(None),
            numbers: Vec::new(),
            kind: PhantomData,
        })
    }
    /// Calls the function on the rows of a dense batch, in order. `at` is the key group and event time of a row.
    fn run(
        &mut self,
        batch: &RecordBatch,
        at: impl Fn(usize) -> (u16, Option<EventTime>),
        place: impl Fn(usize) -> (Origin, usize),
        side: &mut Outbox<X>,
    ) -> Result<Ran> {
        let core = &mut self.core;
        let keys = named(batch, &core.spec.keys, &core.spec.name)?;
        let rows = batch.num_rows();
        core.states.find(&keys, rows, &mut self.numbers)?;
        let now = core.now();
        self.ctx.during(core.watermark, now, false);
        let accepted = Accepted::of::<R>(batch, Missing::Blank, &core.spec.name)?;
        let mut buffers = Vec::new();
        accepted.arrays().for_each(|a| text_buffers(a, &mut buffers));
        let (arena, faults, row_of) = (Arena::default(), Faults::default(), Cell::new(0));
        let mut writer = V::Write::new(rows);
        let mut words = vec![0u64; rows.div_ceil(64)];
        let (call, numbers, ctx) = (&self.call, &self.numbers, &mut self.ctx);
        let result = guarded(&row_of, || {
            let (make, env, view) = (Make::new(!0, &arena, Some(&faults)), Env::new(&buffers, &arena), Rows::<R>::new(&accepted));
            for (row, number) in numbers.iter().enumerate() {
                let (group, time) = at(row);
                let touch = core.touch(time, now);
                let (Some(view), Some(state)) = (view.get(row), core.states.enter(*number, group, touch)?) else { continue };
                row_of.set(row);
                faults.at(row);
                ctx.begin(time);
                let slot = call(state, ctx, &view, make);
                if ctx.has_side() {
                    side.values.extend(ctx.drain_side());
                    side.mark(Whose { number: *number, group, time: time.unwrap_or_default() });
                }
                if ctx.asks() {
                    let by = ctx.take_asked().first().map_or(crate::operator::key_ctx::By::Event, |a| a.by);
                    return Err(Failure::Other(no_timer(&core.spec.name, by)));
                }
                let Some(slot) = slot else { continue };
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
            return Err(super::placed(failure, &core.spec.name, place));
        }
        let column = writer.finish(rows, &Buffers::new(buffers, arena));
        Ok(Ran { column, emitted: Selection::new(words) })
    }
    fn arrival(&mut self, morsel: &Morsel, batch: &RecordBatch, out: &mut dyn Output) -> Result<()> {
        let origin = morsel.origin;
        let list: Option<Vec<usize>> = morsel.selection.as_ref().map(|s| s.rows().collect());
        // nobody asks for the key group of a row whose key has no life and no second output
        let known = self.core.states.lives.is_some() || X::IS;
        let keys = if known { named(batch, &self.core.spec.keys, &self.core.spec.name)? } else { Vec::new() };
        let groups = if known { key_groups(&keys, batch.num_rows())? } else { Vec::new() };
        let mut side = Outbox::default();
        let ran = self.run(
            batch,
            |row| (groups.get(row).copied().unwrap_or_default(), None),
            |row| (origin, list.as_ref().and_then(|l| l.get(row).copied()).unwrap_or(row)),
            &mut side,
        )?;
        let (rows, used) = (batch.num_rows(), ran.emitted.count());
        out.account(Account { used: used as u64, filtered: (rows - used) as u64, ..Account::default() });
        if used > 0 {
            let selection = (used < rows).then_some(ran.emitted);
            out.emit(Morsel { batch: batch_with(batch, self.field.clone(), ran.column)?, selection, origin });
        }
        self.emit_side(side, Some(origin), out)?;
        self.core.settle(None, out)
    }
    fn emit_side(&mut self, side: Outbox<X>, place: Option<Origin>, out: &mut dyn Output) -> Result<()> {
        match X::column(side.values) {
            Some(column) => self.core.emit_own(&side.whose, column, true, place, out),
            None => Ok(()),
        }
    }
    fn deliver(&mut self, until: EventTime, out: &mut dyn Output) -> Result<()> {
        let due = self.core.buffer.due(until);
        for piece in due.chunks(PIECE) {
            let batch = self.core.buffer.gather(piece)?;
            let at = |row: usize| piece.get(row).copied().unwrap_or_default();
            let mut side = Outbox::default();
            let ran = self.run(&batch, |row| (at(row).group, Some(at(row).time)), |row| (at(row).origin, 0), &mut side)?;
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
                if let Some(origin) = run.first().and_then(|group| self.core.next_place(*group, run.len())) {
                    out.emit(Morsel::new(dense.slice(start, run.len()), origin));
                }
                start += run.len();
            }
            self.emit_side(side, None, out)?;
        }
        self.core.buffer.settle()?;
        self.core.settle(Some(until).filter(|t| *t < END_OF_TIME), out)
    }
}

impl<R, S, X, V, F> Operator for Keyed<R, S, X, V, F>
where
    R: Record,
    S: State,
    X: SideOutput,
    V: Value,
    F: for<'a> Fn(&mut S, &mut KeyCtx<X>, &View<'a, R>, Make<'a>) -> Option<Slot<'a, V>> + Send + Sync + 'static,
{
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = morsel.compact()?;
        if batch.num_rows() > 0 {
            let spec = Arc::clone(&self.core.spec);
            match &spec.event_time {
                Some(column) => self.core.take_in(column, &morsel, batch, out)?,
                None => self.arrival(&morsel, &batch, out)?,
            }
        }
        Ok(Progress::Done)
    }
    fn watermark(&mut self, _port: usize, time: EventTime, out: &mut dyn Output) -> Result<()> {
        self.core.watermark = self.core.watermark.max(time);
        if self.core.spec.event_time.is_some() { self.deliver(self.core.watermark, out) } else { Ok(()) }
    }
    fn hold(&self) -> EventTime {
        self.core.hold()
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        self.deliver(END_OF_TIME, out)?;
        Ok(Progress::Done)
    }
    fn attach(&mut self, outside: Arc<dyn Outside>) {
        self.core.attach(outside);
    }
    fn pending(&self) -> Pending {
        self.core.pending()
    }
    fn poll(&mut self, out: &mut dyn Output) -> Result<()> {
        self.core.awake();
        self.core.settle(None, out)
    }
    fn held_bytes(&self) -> usize {
        self.core.held_bytes()
    }
    fn state_on_disk(&mut self, disk: &StateDisk, instances: usize) -> Result<()> {
        self.core.states.on_disk(disk, instances)
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        self.core.snapshot(true)
    }
    fn snapshot_changes(&mut self, _epoch: u64) -> Result<Frozen> {
        self.core.snapshot(false)
    }
    fn restore(&mut self, written: &GroupState) -> Result<()> {
        self.core.restore(written)
    }
    fn release(&mut self, group: u16) {
        self.core.release(group);
    }
}
