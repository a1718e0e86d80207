//! What a keyed operator knows beside its row, and may ask for.

use super::EventTime;
use crate::Error;
use crate::record::{Micros, Timestamp};

/// No second output: the type of [`KeyCtx`] unless an operator names one.
#[derive(Clone, Copy, Debug)]
pub enum NoSide {}

/// By which time something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    /// Event time.
    Event,
    /// The clock.
    Clock,
}

/// A timer to be set, or to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) set: bool,
    pub(crate) by: By,
    pub(crate) at: EventTime,
}

/// What a keyed operator knows beside its row, and may ask for: time, timers of its key, and a second output of type `S`.
///
/// Timers belong to the key whose row, or timer, is being processed. There is at most one for each time.
/// ```
/// use sabot::prelude::*;
///
/// /// Says how many rows of a key came before a pause of a minute.
/// #[derive(State, Default)]
/// struct Busy { rows: u64, until: Option<Timestamp<Micros>> }
///
/// #[operator]
/// impl Busy {
///     fn row(&mut self, ctx: &mut KeyCtx, _amount: i64) {
///         self.rows += 1;
///         self.until.replace(ctx.time() + 1.minute()).into_iter().for_each(|old| ctx.delete_timer(old));
///         ctx.set_timer(ctx.time() + 1.minute());
///     }
///     fn timer(&mut self, _ctx: &mut KeyCtx, _at: Timestamp<Micros>) -> Option<u64> {
///         Some(std::mem::take(self).rows)
///     }
/// }
///
/// // an operator is a type of the user's, and is tested as one
/// let (mut busy, mut ctx) = (Busy::default(), KeyCtx::new(Some(5_000_000)));
/// busy.row(&mut ctx, 7);
/// assert_eq!(ctx.timers(), [Timestamp::new(65_000_000)]);
/// assert_eq!(busy.timer(&mut ctx, Timestamp::new(65_000_000)), Some(1));
/// ```
pub struct KeyCtx<S = NoSide> {
    time: Option<EventTime>,
    watermark: Option<EventTime>,
    now: Option<EventTime>,
    ended: bool,
    asked: Vec<Ask>,
    side: Vec<S>,
}

impl<S> std::fmt::Debug for KeyCtx<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyCtx").field("time", &self.time).field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl<S> KeyCtx<S> {
    /// A context for a row with this event time (microseconds since the epoch): for tests of an operator.
    pub fn new(time: Option<i64>) -> Self {
        KeyCtx { time, watermark: None, now: None, ended: false, asked: Vec::new(), side: Vec::new() }
    }
    /// A context that reads the clock.
    #[must_use]
    pub fn at_clock(self, now: Timestamp<Micros>) -> Self {
        KeyCtx { now: Some(now.value()), ..self }
    }
    /// The event time of the row, or of the timer, in microseconds since the epoch, if the stream has one.
    #[inline]
    pub fn event_time(&self) -> Option<i64> {
        self.time
    }
    /// The event time of the row, or of the timer; on a stream without event time, the clock, for an operator that has one.
    #[inline]
    pub fn time(&self) -> Timestamp<Micros> {
        Timestamp::new(self.time.or(self.now).unwrap_or_default())
    }
    /// The watermark: no row before it follows. `None` while the source has told no time, as one that ends never does. It
    /// depends on how far other partitions are, so results that depend on it are not those of a batch.
    pub fn watermark(&self) -> Option<Timestamp<Micros>> {
        self.watermark.map(Timestamp::new)
    }
    /// The clock, for an operator with a `clock_timer`, or whose state expires by the clock.
    pub fn now(&self) -> Option<Timestamp<Micros>> {
        self.now.map(Timestamp::new)
    }
    /// Whether the input has ended, and only timers are left. An operator whose timers always set another one stops here.
    pub fn ended(&self) -> bool {
        self.ended
    }
    /// Has `timer` called for this key at this event time: after all rows of the key before it, and before those at it. A time that
    /// is not later than [`time`](Self::time) means the next microsecond.
    #[inline]
    pub fn set_timer(&mut self, at: Timestamp<Micros>) {
        self.ask(true, By::Event, at);
    }
    /// Takes a timer back. Nothing happens if it is not set.
    #[inline]
    pub fn delete_timer(&mut self, at: Timestamp<Micros>) {
        self.ask(false, By::Event, at);
    }
    /// Has `clock_timer` called for this key when the clock is at `at`, or soon after; see [`now`](Self::now).
    #[inline]
    pub fn set_clock_timer(&mut self, at: Timestamp<Micros>) {
        self.ask(true, By::Clock, at);
    }
    /// Takes a timer by the clock back. Nothing happens if it is not set.
    #[inline]
    pub fn delete_clock_timer(&mut self, at: Timestamp<Micros>) {
        self.ask(false, By::Clock, at);
    }
    /// Emits a row of the second output: `(main, side) = .. -> keyed(..);`.
    #[inline]
    pub fn side(&mut self, row: S) {
        self.side.push(row);
    }
    /// The timers that were set and not deleted in this context, of both kinds: for tests of an operator.
    pub fn timers(&self) -> Vec<Timestamp<Micros>> {
        let mut out: Vec<(By, EventTime)> = Vec::new();
        for ask in &self.asked {
            out.retain(|o| *o != (ask.by, ask.at));
            out.extend(ask.set.then_some((ask.by, ask.at)));
        }
        out.into_iter().map(|(_, at)| Timestamp::new(at)).collect()
    }
    /// The rows of the second output so far: for tests of an operator.
    pub fn side_rows(&self) -> &[S] {
        &self.side
    }

    #[inline]
    fn ask(&mut self, set: bool, by: By, at: Timestamp<Micros>) {
        self.asked.push(Ask { set, by, at: at.value() });
    }
    /// For the next row, or timer, of the same batch.
    #[inline]
    pub(crate) fn begin(&mut self, time: Option<EventTime>) {
        self.time = time;
    }
    /// What holds for a whole batch.
    pub(crate) fn during(&mut self, watermark: EventTime, now: Option<EventTime>, ended: bool) {
        self.watermark = Some(watermark).filter(|w| *w > EventTime::MIN && *w < EventTime::MAX);
        (self.now, self.ended) = (now, ended);
    }
    #[inline]
    pub(crate) fn asks(&self) -> bool {
        !self.asked.is_empty()
    }
    pub(crate) fn take_asked(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asked)
    }
    /// Keeps the room of what was asked.
    pub(crate) fn give_back(&mut self, mut room: Vec<Ask>) {
        room.clear();
        self.asked = room;
    }
    #[inline]
    pub(crate) fn has_side(&self) -> bool {
        !self.side.is_empty()
    }
    pub(crate) fn drain_side(&mut self) -> std::vec::Drain<'_, S> {
        self.side.drain(..)
    }
}

/// Why a keyed operator may not have a timer.
pub(crate) fn no_timer(step: &str, by: By) -> Error {
    let (set, method) = match by {
        By::Event => ("set_timer", "fn timer(&mut self, ctx: &mut KeyCtx, at: Timestamp<Micros>)"),
        By::Clock => ("set_clock_timer", "fn clock_timer(&mut self, ctx: &mut KeyCtx, at: Timestamp<Micros>)"),
    };
    Error::Usage(format!("`{step}` calls `{set}`, but nothing takes the timer: its operator needs `{method}`"))
}
