//! User types with state per key and timers: `impl Visits { fn row(..) fn timer(..) }`.
//!
//! Rows are delivered as to a function. Timers of event time fire between them: a key group is one sequence of rows and timers in
//! order of time, a timer before the rows of its time, so that what comes out does not depend on when watermarks come. Timers
//! by the clock fire when the runtime wakes the step.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, SchemaRef};

use super::buffer::PIECE;
use super::core::{Core, Outbox, Whose, column_of};
use super::{KeyedSpec, SideOutput};
use crate::kernel::{Morsel, Origin};
use crate::operator::fault::guarded;
use crate::operator::kept::named;
use crate::operator::key_ctx::{By, no_timer};
use crate::operator::keys::key_groups;
use crate::operator::{
    Account, END_OF_TIME, EventTime, Failure, Frozen, GroupState, Instance, KeyCtx, KeyedRows, Operator, OperatorFactory, Output, Outside,
    Pending, Progress, StateDisk,
};
use crate::record::{Accepted, Missing, Record, Rows, Timestamp, View};
use crate::{Error, Result};

/// Timers that may fire at the end of the input in one key group, beyond those that were set: timers that always set another one
/// would go on for ever.
const AT_END: usize = 1_000_000;
/// What [`guarded`] notes as the row while a timer is called.
const IN_TIMER: usize = usize::MAX;

/// An operator `M` over rows `R`; see the module's page. `F` calls its `row` and says whether it did.
pub struct Machine<R, M: KeyedRows, F> {
    core: Core<M>,
    field: Field,
    call: Arc<F>,
    ctx: KeyCtx<M::Side>,
    numbers: Vec<u32>,
    main: Outbox<M::Out>,
    side: Outbox<M::Side>,
    kind: PhantomData<fn() -> R>,
}

impl<R, M: KeyedRows, F> std::fmt::Debug for Machine<R, M, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("spec", &self.core.spec).finish_non_exhaustive()
    }
}

impl<R, M, F> Machine<R, M, F>
where
    R: Record,
    M: KeyedRows,
    F: for<'a> Fn(&mut M, &mut KeyCtx<M::Side>, &mut Vec<M::Out>, &View<'a, R>) -> bool + Send + Sync + 'static,
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
        use crate::record::Value;
        Ok(Machine {
            field: Field::new(&spec.output, <M::Out as Value>::data_type(), <M::Out as Value>::NULLABLE),
            call: Arc::clone(call),
            core: Core::new(spec, input, M::TIMER, M::CLOCK_TIMER)?,
            ctx: KeyCtx::new(None),
            numbers: Vec::new(),
            main: Outbox::default(),
            side: Outbox::default(),
            kind: PhantomData,
        })
    }

    /// Calls `row` with the rows of a dense batch, in order; timers of event time fire before the rows that they precede. Returns
    /// for how many it was not called, because of a null.
    fn rows(
        &mut self,
        batch: &RecordBatch,
        at: impl Fn(usize) -> (u16, Option<EventTime>),
        place: impl Fn(usize) -> (Origin, usize),
    ) -> Result<usize> {
        let Machine { core, call, ctx, numbers, main, side, .. } = self;
        let keys = named(batch, &core.spec.keys, &core.spec.name)?;
        core.states.find(&keys, batch.num_rows(), numbers)?;
        let now = core.now();
        ctx.during(core.watermark, now, false);
        let accepted = Accepted::of::<R>(batch, Missing::Blank, &core.spec.name)?;
        let current = Cell::new(0);
        let mut passed = 0;
        let result = guarded(&current, || {
            let view = Rows::<R>::new(&accepted);
            for (row, number) in numbers.iter().enumerate() {
                let (group, time) = at(row);
                if let Some(time) = time
                    && core.states.lives.as_ref().is_some_and(|l| l.is_due(group, time))
                {
                    current.set(IN_TIMER);
                    fire(core, ctx, main, side, group, time, usize::MAX)?;
                }
                let touch = core.touch(time, now);
                let (Some(view), Some(state)) = (view.get(row), core.states.enter(*number, group, touch)?) else { continue };
                current.set(row);
                ctx.begin(time);
                passed += usize::from(!call(state, ctx, &mut main.values, &view));
                let whose = Whose { number: *number, group, time: time.unwrap_or_default() };
                settle_call::<M>(core, ctx, main, side, whose)?;
            }
            Ok(())
        });
        result.map(|()| passed).map_err(|failure| match failure {
            Failure::Row { row: Some(IN_TIMER), what, operator } => in_timer(&core.spec.name, what, operator, ctx),
            failure => super::placed(failure, &core.spec.name, place),
        })
    }
    /// Fires what is due in all key groups.
    fn fire_all(&mut self, by: By, until: EventTime, ended: bool) -> Result<()> {
        let Machine { core, ctx, main, side, .. } = self;
        let Some(groups) = core.states.lives.as_ref().map(|l| l.due(by, until)) else { return Ok(()) };
        let now = core.now();
        ctx.during(core.watermark, now, ended);
        let result = guarded(&Cell::new(IN_TIMER), || {
            for group in groups {
                match by {
                    By::Event => {
                        let set = core.states.lives.as_ref().map_or(0, |l| l.set_timers(by, group));
                        fire(core, ctx, main, side, group, until, if ended { set + AT_END } else { usize::MAX })?;
                    }
                    By::Clock => fire_clock(core, ctx, main, side, group, until)?,
                }
            }
            Ok(())
        });
        result.map_err(|failure| match failure {
            Failure::Row { what, operator, .. } => in_timer(&core.spec.name, what, operator, ctx),
            Failure::Other(error) => error,
        })
    }
    /// Emits the rows that were made.
    fn send(&mut self, place: Option<Origin>, out: &mut dyn Output) -> Result<()> {
        let main = std::mem::take(&mut self.main);
        self.core.emit_own(&main.whose, (self.field.clone(), column_of(&main.values)), false, place, out)?;
        let side = std::mem::take(&mut self.side);
        match <M::Side as SideOutput>::column(side.values) {
            Some(column) => self.core.emit_own(&side.whose, column, true, place, out),
            None => Ok(()),
        }
    }
    fn arrival(&mut self, morsel: &Morsel, batch: &RecordBatch, out: &mut dyn Output) -> Result<()> {
        let origin = morsel.origin;
        let list: Option<Vec<usize>> = morsel.selection.as_ref().map(|s| s.rows().collect());
        let groups = key_groups(&named(batch, &self.core.spec.keys, &self.core.spec.name)?, batch.num_rows())?;
        let passed = self.rows(
            batch,
            |row| (groups.get(row).copied().unwrap_or_default(), None),
            |row| (origin, list.as_ref().and_then(|l| l.get(row).copied()).unwrap_or(row)),
        )?;
        out.account(Account { used: (batch.num_rows() - passed) as u64, filtered: passed as u64, ..Account::default() });
        self.send(Some(origin), out)?;
        self.core.settle(None, out)
    }
    fn deliver(&mut self, until: EventTime, out: &mut dyn Output) -> Result<()> {
        let due = self.core.buffer.due(until);
        for piece in due.chunks(PIECE) {
            let batch = self.core.buffer.gather(piece)?;
            let at = |row: usize| piece.get(row).copied().unwrap_or_default();
            let passed = self.rows(&batch, |row| (at(row).group, Some(at(row).time)), |row| (at(row).origin, 0))?;
            let rows = piece.len();
            out.account(Account { used: (rows - passed) as u64, filtered: passed as u64, held: -(rows as i64), ..Account::default() });
            self.send(None, out)?;
        }
        self.fire_all(By::Event, until, until == END_OF_TIME)?;
        self.send(None, out)?;
        self.core.buffer.settle()?;
        self.core.settle(Some(until).filter(|t| *t < END_OF_TIME), out)
    }
}

/// Fires the timers of event time of a key group that are due, in order, at most `limit` of them.
fn fire<M: KeyedRows>(
    core: &mut Core<M>,
    ctx: &mut KeyCtx<M::Side>,
    main: &mut Outbox<M::Out>,
    side: &mut Outbox<M::Side>,
    group: u16,
    until: EventTime,
    limit: usize,
) -> Result<(), Failure> {
    let touch = ctx.now().map(Timestamp::value).filter(|_| core.spec.ttl.is_some_and(|t| t.clock));
    let mut fired = 0;
    while let Some((at, number)) = core.states.lives.as_mut().and_then(|l| l.fire(By::Event, group, until, touch)) {
        fired += 1;
        if fired > limit {
            return Err(Failure::Other(Error::Usage(format!(
                "`{}` would never end: after the last row its timers always set another one; ask `ctx.ended()` before `ctx.set_timer(..)`",
                core.spec.name
            ))));
        }
        core.states.changed.mark(group);
        ctx.begin(Some(at));
        if let Some(state) = core.states.get(number)? {
            state.timer(ctx, Timestamp::new(at), &mut main.values);
        }
        settle_call::<M>(core, ctx, main, side, Whose { number, group, time: at })?;
    }
    Ok(())
}

/// The same by the clock. Rows carry the watermark as event time.
fn fire_clock<M: KeyedRows>(
    core: &mut Core<M>,
    ctx: &mut KeyCtx<M::Side>,
    main: &mut Outbox<M::Out>,
    side: &mut Outbox<M::Side>,
    group: u16,
    until: EventTime,
) -> Result<(), Failure> {
    let time = core.spec.event_time.is_some().then(|| match core.watermark {
        // no time was told: nothing can be late
        EventTime::MIN => core.buffer.earliest().unwrap_or(0),
        time => time,
    });
    let touch = core.touch(time, Some(until));
    while let Some((at, number)) = core.states.lives.as_mut().and_then(|l| l.fire(By::Clock, group, until, Some(touch))) {
        core.states.changed.mark(group);
        ctx.begin(time);
        if let Some(state) = core.states.get(number)? {
            state.clock_timer(ctx, Timestamp::new(at), &mut main.values);
        }
        settle_call::<M>(core, ctx, main, side, Whose { number, group, time: time.unwrap_or_default() })?;
    }
    Ok(())
}

/// What a call left behind: rows are its key's, and so are timers that it asked for.
#[inline]
fn settle_call<M: KeyedRows>(
    core: &mut Core<M>,
    ctx: &mut KeyCtx<M::Side>,
    main: &mut Outbox<M::Out>,
    side: &mut Outbox<M::Side>,
    whose: Whose,
) -> Result<(), Failure> {
    main.mark(whose);
    if ctx.has_side() {
        side.values.extend(ctx.drain_side());
        side.mark(whose);
    }
    if ctx.asks() { asked::<M>(core, ctx, whose) } else { Ok(()) }
}
fn asked<M: KeyedRows>(core: &mut Core<M>, ctx: &mut KeyCtx<M::Side>, whose: Whose) -> Result<(), Failure> {
    let all = ctx.take_asked();
    for ask in &all {
        let takes = match ask.by {
            By::Event => M::TIMER && core.spec.event_time.is_some(),
            By::Clock => M::CLOCK_TIMER,
        };
        if !takes {
            return Err(Failure::Other(no_timer(&core.spec.name, ask.by)));
        }
        // a timer for what is past comes next
        let passed = match ask.by {
            By::Event => whose.time,
            By::Clock => ctx.now().map_or(EventTime::MIN, Timestamp::value),
        };
        let at = ask.at.max(passed.saturating_add(1));
        if let Some(lives) = &mut core.states.lives {
            match ask.set {
                true => lives.set(ask.by, whose.number, whose.group, at),
                false => lives.delete(ask.by, whose.number, whose.group, at),
            }
        }
    }
    ctx.give_back(all);
    Ok(())
}

fn in_timer<S>(step: &str, what: String, operator: Option<String>, ctx: &KeyCtx<S>) -> Error {
    let operator = operator.map_or_else(|| step.to_owned(), |o| format!("{step} ({o})"));
    Error::Operator { operator, what, row: format!("a timer at {}", ctx.time()) }
}

impl<R, M, F> Operator for Machine<R, M, F>
where
    R: Record,
    M: KeyedRows,
    F: for<'a> Fn(&mut M, &mut KeyCtx<M::Side>, &mut Vec<M::Out>, &View<'a, R>) -> bool + Send + Sync + 'static,
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
        if let Some(now) = self.core.awake() {
            self.fire_all(By::Clock, now, false)?;
            self.send(None, out)?;
        }
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
