//! How event time is cut.

use std::marker::PhantomData;

use crate::plan::{Emit, Op, Span, When};
use crate::record::{Duration, HasTime, Micros, NoTime};

use super::{Append, Change, Changes, Updated, Windowed};

/// Windows of event time: what [`tumbling`], [`hop`] and [`session`] make, and the `window` step takes.
///
/// Example: [`hop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows<E = Closing> {
    kind: Kind,
    emit: Emit,
    mark: PhantomData<E>,
}

/// When results of windows are sent.
pub trait Emission: 'static {
    /// Whether they are taken back.
    type Change: Change;
}
/// Once, when the window is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {}
impl Emission for Closing {
    type Change = Append;
}
/// Before the window is over, or again when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updating {}
impl Emission for Updating {
    type Change = Changes;
}

/// What a `window` step takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a window",
    label = "not a window",
    note = "write `tumbling(1.hour())`, `hop(1.hour(), 15.minute())`, `session(30.minute())` or `global(on_update)`"
)]
pub trait Cut {
    /// The event time that it needs.
    type Needs;
    /// A key that is cut by it.
    type Windowed<K>;
    /// As the plan has it.
    #[doc(hidden)]
    fn ops(&self) -> Vec<Op>;
    /// Why there are no such windows, if there are none.
    #[doc(hidden)]
    fn problem(&self) -> Option<String>;
}

/// All rows of a key, without cutting time: what [`global`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Global(());
/// The word in `global(on_update)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnUpdate(());
/// Results are sent whenever they change: `window(global(on_update))`.
pub fn on_update() -> OnUpdate {
    OnUpdate(())
}

/// No windows: an aggregate is of all rows of its key, and is sent whenever it changes. `window(global(on_update))`.
///
/// It needs no event time, and no end. The result is a stream of changes: where the aggregate of a key is another one than before, the
/// old row is taken back and the new one sent. How often that happens is open (about once per key and batch of rows); the sum
/// of all changes is the aggregate over all rows so far. State is kept for every key, for ever.
///
/// A sink that the caller binds applies the changes: `collect` and files hold the final rows. See [`Changes`](super::Changes).
///
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone)]
/// struct Sale { shop: Str, amount: i64 }
///
/// pipeline! {
///     /// What each shop has sold so far.
///     pub fn totals(sales: Source<Sale>);
///     totals = sales -> key_by(shop) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount), sales: count() });
///     totals -> sink;
/// }
///
/// /// A shop's total.
/// #[derive(Record, Debug, PartialEq)]
/// struct Total { shop: Str, total: i64, sales: u64 }
///
/// fn main() -> sabot::Result<()> {
///     let sale = |shop: &str, amount| Sale { shop: shop.into(), amount };
///     let mut rows: Vec<Total> = totals(vec![sale("A", 5), sale("B", 1), sale("A", 2)]).collect()?;
///     rows.sort_by_key(|t| t.total);
///     assert_eq!(rows, [Total { shop: "B".into(), total: 1, sales: 1 }, Total { shop: "A".into(), total: 7, sales: 2 }]);
///     Ok(())
/// }
/// ```
pub fn global(_when: fn() -> OnUpdate) -> Global {
    Global(())
}
impl Cut for Global {
    type Needs = NoTime;
    type Windowed<K> = Updated<K>;
    fn ops(&self) -> Vec<Op> {
        vec![Op::Emit { emit: Emit { when: When::OnUpdate, ..Emit::default() }, global: true }]
    }
    fn problem(&self) -> Option<String> {
        None
    }
}

/// Results are sent once.
const ON_CLOSE: Emit = Emit { when: When::OnClose, lateness: 0 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Aligned { size: Duration<Micros>, slide: Duration<Micros> },
    Session { gap: Duration<Micros> },
}

/// Windows of this length that follow one another, `[k * size, (k + 1) * size)`: `tumbling(1.day())`.
///
/// A size that is not positive is refused when the job starts; `pipeline!` refuses a constant one at compile time.
///
/// Example: [`hop`].
pub fn tumbling(size: Duration<Micros>) -> Windows {
    Windows { kind: Kind::Aligned { size, slide: size }, emit: ON_CLOSE, mark: PhantomData }
}

/// Windows of length `size`, of which one begins every `slide`: `[k * slide, k * slide + size)`. A row is in `size / slide`
/// of them: `hop(1.hour(), 15.minute())` is the last hour, every quarter of an hour.
///
/// Rows are aggregated once, per pane (the greatest common divisor of size and slide), and panes put together into
/// windows. A slide or size that is not positive, and a slide larger than the size, between whose windows rows would
/// be lost, is refused when the job starts; `pipeline!` refuses constant ones at compile time.
///
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone, Debug)]
/// struct Reading { sensor: i64, value: f64, #[event_time] at: Timestamp<Micros> }
///
/// pipeline! {
///     /// The highest value of the last ten seconds, every five.
///     pub fn peaks(readings: Source<Reading>);
///     peaks = readings -> key_by(sensor) -> window(hop(10.sec(), 5.sec())) -> aggregate(|r| row { most: max(r.value) });
///     peaks -> sink;
/// }
///
/// /// A peak.
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Peak { sensor: i64, window_start: Timestamp<Micros>, window_end: Timestamp<Micros>, most: f64 }
///
/// fn main() -> sabot::Result<()> {
///     let reading = |s: i64, value| Reading { sensor: 1, value, at: Timestamp::new(s * 1_000_000) };
///     let peaks: Vec<Peak> = peaks(vec![reading(1, 2.0), reading(6, 9.0), reading(12, 4.0)]).collect()?;
///     let most: Vec<(i64, f64)> = peaks.iter().map(|p| (p.window_start.value() / 1_000_000, p.most)).collect();
///     assert_eq!(most, [(-5, 2.0), (0, 9.0), (5, 9.0), (10, 4.0)]);
///     Ok(())
/// }
/// ```
pub fn hop(size: Duration<Micros>, slide: Duration<Micros>) -> Windows {
    Windows { kind: Kind::Aligned { size, slide }, emit: ON_CLOSE, mark: PhantomData }
}

/// A window per key that grows while rows of the key come within `gap` of it: it begins with its first row and ends `gap`
/// after its last one, `[first, last + gap)`. A row exactly `gap` after the last one begins the next session.
///
/// A session is over when the watermark reaches its end. Rows are aggregated once, per pane of the length of the gap, and
/// panes put together into sessions. A gap that is not positive is refused when the job starts; `pipeline!` refuses a
/// constant one at compile time.
///
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone, Debug)]
/// struct Click { user: i64, page: Str, #[event_time] at: Timestamp<Micros> }
///
/// pipeline! {
///     /// What a user looked at before a pause of half an hour.
///     pub fn visits(clicks: Source<Click>);
///     visits = clicks -> key_by(user) -> window(session(30.minute())) -> aggregate(|c| row { pages: count(), landed: first(c.page) });
///     visits -> sink;
/// }
///
/// /// A visit.
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Visit { user: i64, window_start: Timestamp<Micros>, window_end: Timestamp<Micros>, pages: u64, landed: Str }
///
/// fn main() -> sabot::Result<()> {
///     let minute = |m: i64| Timestamp::new(m * 60_000_000);
///     let click = |m, page: &str| Click { user: 1, page: page.into(), at: minute(m) };
///     let visits: Vec<Visit> = visits(vec![click(0, "home"), click(45, "news"), click(20, "shop"), click(80, "home")]).collect()?;
///     assert_eq!(visits, [
///         Visit { user: 1, window_start: minute(0), window_end: minute(75), pages: 3, landed: "home".into() },
///         Visit { user: 1, window_start: minute(80), window_end: minute(110), pages: 1, landed: "home".into() },
///     ]);
///     Ok(())
/// }
/// ```
pub fn session(gap: Duration<Micros>) -> Windows {
    Windows { kind: Kind::Session { gap }, emit: ON_CLOSE, mark: PhantomData }
}

impl<E> Windows<E> {
    fn sent(self, when: When) -> Windows<Updating> {
        Windows { kind: self.kind, emit: Emit { when, ..self.emit }, mark: PhantomData }
    }
    /// Results are sent whenever they change, and taken back: `window(tumbling(1.hour()), on_update)`.
    #[must_use]
    pub fn on_update(self) -> Windows<Updating> {
        self.sent(When::OnUpdate)
    }
    /// Results that have changed are sent when the watermark passes a multiple of `span`, and when their window is over: in event time, so
    /// that it does not depend on when rows come. `window(tumbling(1.hour()), every = 10.sec())`.
    #[must_use]
    pub fn every(self, span: Duration<Micros>) -> Windows<Updating> {
        self.sent(When::Every(span.value()))
    }
    /// Rows that come up to `span` behind the watermark still count: a window that was sent is taken back and sent anew. Its state is kept for
    /// so long after it is over. `window(tumbling(1.hour()), lateness = 1.minute())`.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug)]
    /// struct Reading { sensor: i64, value: f64, #[event_time] at: Timestamp<Micros> }
    ///
    /// pipeline! {
    ///     /// The highest value of each minute, as soon as it is over; a row that comes within the next five corrects it.
    ///     pub fn peaks(readings: Source<Reading>);
    ///     peaks = readings -> key_by(sensor) -> window(tumbling(1.minute()), lateness = 5.minute())
    ///                      -> aggregate(|r| row { most: max(r.value) });
    ///     peaks -> sink;
    /// }
    ///
    /// # fn main() -> sabot::Result<()> {
    /// /// A peak.
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Peak { sensor: i64, window_start: Timestamp<Micros>, most: f64 }
    /// let reading = |s: i64, value| Reading { sensor: 1, value, at: Timestamp::new(s * 1_000_000) };
    /// let peaks: Vec<Peak> = peaks(vec![reading(1, 2.0), reading(130, 1.0), reading(30, 9.0)]).collect()?;
    /// assert_eq!(peaks.iter().map(|p| p.most).sum::<f64>(), 10.0);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn lateness(self, span: Duration<Micros>) -> Windows<Updating> {
        Windows { kind: self.kind, emit: Emit { lateness: span.value(), ..self.emit }, mark: PhantomData }
    }
}

impl<E> Cut for Windows<E> {
    type Needs = HasTime;
    type Windowed<K> = Windowed<K, E>;
    fn ops(&self) -> Vec<Op> {
        let span = match self.kind {
            Kind::Aligned { size, slide } => Span::Aligned { size: size.value(), slide: slide.value() },
            Kind::Session { gap } => Span::Session { gap: gap.value() },
        };
        let sent = (!self.emit.is_default()).then_some(Op::Emit { emit: self.emit, global: false });
        [Some(Op::Window(span)), sent].into_iter().flatten().collect()
    }
    fn problem(&self) -> Option<String> {
        if let When::Every(micros) = self.emit.when
            && micros <= 0
        {
            return Some(format!(
                "results are sent every so often: after a span greater than zero, not {}",
                Duration::<Micros>::new(micros)
            ));
        }
        if self.emit.lateness < 0 {
            return Some(format!("rows cannot be late by a negative span, {}", Duration::<Micros>::new(self.emit.lateness)));
        }
        if matches!(self.kind, Kind::Session { .. }) && !self.emit.is_default() {
            return Some("sessions are sent once, when they are over: leave out when else".into());
        }
        let (size, slide) = match self.kind {
            Kind::Aligned { size, slide } => (size, slide),
            Kind::Session { gap } => return (gap.value() <= 0).then(|| format!("a session needs a positive gap, not {gap}")),
        };
        if size.value() <= 0 {
            Some(format!("a window needs a positive size, not {size}"))
        } else if slide.value() <= 0 {
            Some(format!("windows need a positive slide, not {slide}"))
        } else if slide > size {
            Some(format!("a slide of {slide} is larger than the window of {size}: the rows between two windows would be lost"))
        } else {
            None
        }
    }
}
