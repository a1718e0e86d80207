//! Joins in event time: `asof_join` and `interval_join`.

use std::marker::PhantomData;
use std::ops::RangeInclusive;

use crate::plan::{Direction, Emit, JoinKind, Matching};
use crate::record::{Duration, HasTime, Record, Unit};

use super::join::Joined;
use super::{Always, And, Append, Bound, Bounded, Decoy, KeyTypes, Keyed, Maybe, On, SameKey, Sided, Stream, Unkeyed};

/// The stream can be the right side of a join in event time.
#[diagnostic::on_unimplemented(message = "a join needs a stream as its right side", label = "not a stream")]
pub trait TimedSide: Sided {
    /// Its row type.
    type Row: Record;
    /// `Keyed<..>` or `Unkeyed`.
    type Key;
    /// Whether it ends.
    type Bound;
    /// Whether it has an event time.
    type Time;
}
impl<R: Record, K, B, T, C> TimedSide for Stream<'_, R, K, B, T, C> {
    type Row = R;
    type Key = K;
    type Bound = B;
    type Time = T;
}
impl<S: TimedSide> TimedSide for On<S> {
    type Row = S::Row;
    type Key = S::Key;
    type Bound = S::Bound;
    type Time = S::Time;
}

/// The rows of a join in event time stay.
#[diagnostic::on_unimplemented(
    message = "a join in event time needs rows that stay, but the rows of this stream are taken back when results change",
    label = "carries changes",
    note = "join by keys alone: `join(b -> key_by(k), |l, r| row {{ .. }})` over changes sends pairs at once, and takes them back when a row of theirs is; or put this step before the one that makes the changes"
)]
pub trait StaysInTime {}
impl StaysInTime for Append {}

/// The same of its right side.
#[diagnostic::on_unimplemented(
    message = "a join in event time needs rows that stay, but the rows of this stream are taken back when results change",
    label = "carries changes",
    note = "join by keys alone: `join(b -> key_by(k), |l, r| row {{ .. }})` over changes sends pairs at once, and takes them back when a row of theirs is; or put this step before the one that makes the changes"
)]
pub trait SideStays {}
impl<R, K, B, T> SideStays for Stream<'_, R, K, B, T, Append> {}
#[diagnostic::do_not_recommend]
impl<S: SideStays> SideStays for On<S> {}

/// Both sides of a join are keyed, or none is.
#[diagnostic::on_unimplemented(
    message = "one side of this join is keyed and the other is not",
    label = "only one side is keyed",
    note = "key both sides: `trades -> key_by(symbol) -> asof_join(quotes -> key_by(symbol), |t, q| ..)`; or none, to match in time alone"
)]
pub trait KeyedAlike<Other> {}
impl KeyedAlike<Unkeyed> for Unkeyed {}
impl<A: KeyTypes + SameKey<B>, B> KeyedAlike<Keyed<B>> for Keyed<A> {}
// with a single impl each, rustc would call it a type mismatch
#[diagnostic::do_not_recommend]
impl<K> KeyedAlike<Decoy<K>> for Unkeyed {}
#[diagnostic::do_not_recommend]
impl<A, K> KeyedAlike<Decoy<K>> for Keyed<A> {}

/// The stream has an event time to join by.
#[diagnostic::on_unimplemented(
    message = "this join compares the event times of both sides, but one has none",
    label = "no event time",
    note = "mark the timestamp with `#[event_time]` in the record, or name it behind the source: `quotes -> event_time(ts) -> key_by(symbol)`"
)]
pub trait TellsTime {}
impl TellsTime for HasTime {}

/// An as-of join knows when it has seen the partner of a left row, over a right side with this bound.
#[diagnostic::on_unimplemented(
    message = "the nearest right row may be one that is still to come, and the right side may never end",
    label = "may wait for ever",
    note = "say how far away the partner may be: `asof_join(.., direction = nearest, tolerance = 5.sec(), ..)`; or look back only, `direction = backward`; or declare the right source as one that ends: `Source<T, Bounded>`"
)]
pub trait Answers<B> {}
impl<L, B> Answers<B> for AsOf<Back, L> {}
impl<B> Answers<B> for AsOf<Ahead, AtMost> {}
#[diagnostic::do_not_recommend]
impl Answers<Bounded> for AsOf<Ahead, Far> {}

/// A length of time.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a length of time",
    label = "not a duration",
    note = "write a number with its unit: `5.sec()`, `250.ms()`, `1.minute()`"
)]
pub trait TimeSpan {
    /// In microseconds; saturates.
    fn span_micros(self) -> i64;
}
impl<U: Unit> TimeSpan for Duration<U> {
    fn span_micros(self) -> i64 {
        crate::record::to_micros::<U>(self.value())
    }
}

/// A range of lengths of time.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a range of time",
    label = "not a range of durations with both ends",
    note = "write both ends with their units, they are included: `within = -5.minute()..=5.minute()`, `within = 0.sec()..=1.hour()`"
)]
pub trait TimeRange {
    /// The ends in microseconds; both belong to it.
    fn range_micros(&self) -> (i64, i64);
}
impl<U: Unit> TimeRange for RangeInclusive<Duration<U>> {
    fn range_micros(&self) -> (i64, i64) {
        (self.start().span_micros(), self.end().span_micros())
    }
}

/// How an as-of join finds the partner of a left row.
///
/// In `pipeline!`: `asof_join(quotes -> key_by(symbol), direction = nearest, tolerance = 5.sec(), |t, q| row { .. })`.
/// Where it looks ([`Back`] or [`Ahead`] too), and whether its partner may be at any distance ([`Far`] or [`AtMost`] a tolerance), are part of its
/// type: over a right side that may never end, one that looks ahead needs a tolerance.
///
/// Example: [`Stream::asof_join`].
#[derive(Debug, PartialEq, Eq)]
pub struct AsOf<D = Back, L = Far> {
    direction: Direction,
    tolerance: Option<i64>,
    kind: PhantomData<fn() -> (D, L)>,
}
/// It looks back in time only.
#[derive(Debug)]
pub enum Back {}
/// It looks ahead too.
#[derive(Debug)]
pub enum Ahead {}
/// The partner may be at any distance.
#[derive(Debug)]
pub enum Far {}
/// There is a tolerance.
#[derive(Debug)]
pub enum AtMost {}
impl<D, L> Clone for AsOf<D, L> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<D, L> Copy for AsOf<D, L> {}
impl Default for AsOf {
    fn default() -> Self {
        AsOf::backward()
    }
}
impl AsOf {
    /// The last right row that is not later; of several at that time the last in source order. The default.
    pub fn backward() -> AsOf<Back, Far> {
        AsOf { direction: Direction::Backward, tolerance: None, kind: PhantomData }
    }
    /// The first right row that is not earlier; of several at that time the first in source order.
    pub fn forward() -> AsOf<Ahead, Far> {
        AsOf { direction: Direction::Forward, tolerance: None, kind: PhantomData }
    }
    /// The right row that is least far away in time; of two equally far the earlier.
    pub fn nearest() -> AsOf<Ahead, Far> {
        AsOf { direction: Direction::Nearest, tolerance: None, kind: PhantomData }
    }
}
impl<D, L> AsOf<D, L> {
    /// A partner may be this far away, and no further.
    #[must_use]
    pub fn tolerance(self, most: impl TimeSpan) -> AsOf<D, AtMost> {
        AsOf { direction: self.direction, tolerance: Some(most.span_micros()), kind: PhantomData }
    }
}

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// Pairs each left row with the right row of its key that is nearest in event time on one side; a left row without one
    /// is kept, with `None`. Nulls never match. Without keys on both sides, time alone decides.
    ///
    /// The idea is kdb's `aj`. Of a right side that ends, the rows are sorted by time per key, unless they come that way, before left rows pass. A right
    /// side that may not end is a table that changes slowly: a left row waits until the right watermark has passed it (with
    /// `forward` and `nearest`: the tolerance behind it), and of each key the last version stays known.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone)]
    /// struct Trade { symbol: Str, price: f64, #[event_time] ts: Timestamp<Micros> }
    /// #[derive(Record, Clone)]
    /// struct Quote { symbol: Str, bid: f64, #[event_time] ts: Timestamp<Micros> }
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Checked { price: f64, bid: Option<f64> }
    ///
    /// pipeline! {
    ///     pub fn checked(trades: Source<Trade, Bounded>, quotes: Source<Quote, Bounded>);
    ///     checked = trades -> key_by(symbol)
    ///                      -> asof_join(quotes -> key_by(symbol), tolerance = 5.sec(), |t, q| row Checked { price: t.price, bid: q?.bid });
    ///     checked -> sink;
    /// }
    ///
    /// let at = |s: i64| Timestamp::new(s * 1_000_000);
    /// let trades = vec![Trade { symbol: "A".into(), price: 9.5, ts: at(7) }, Trade { symbol: "A".into(), price: 9.6, ts: at(60) }];
    /// let quotes = vec![Quote { symbol: "A".into(), bid: 9.4, ts: at(3) }, Quote { symbol: "A".into(), bid: 9.5, ts: at(6) }];
    /// let rows: Vec<Checked> = checked(trades, quotes).collect()?;
    /// assert_eq!(rows, [Checked { price: 9.5, bid: Some(9.5) }, Checked { price: 9.6, bid: None }]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn asof_join<S: TimedSide + SideStays, D, L>(
        self,
        right: S,
        how: AsOf<D, L>,
    ) -> Joined<'g, Always<R>, Maybe<S::Row>, <B as And<S::Bound>>::Out, C>
    where
        C: StaysInTime,
        K: KeyedAlike<S::Key>,
        T: TellsTime,
        S::Time: TellsTime,
        B: And<S::Bound>,
        AsOf<D, L>: Answers<S::Bound>,
    {
        if how.tolerance.is_some_and(|t| t < 0) {
            self.graph().problem(format!("the tolerance of an `asof_join` behind `{}` is negative", self.graph().id(self.node())));
        }
        self.joined(&right, JoinKind::Left, Matching::AsOf { direction: how.direction, tolerance: how.tolerance }, Emit::default())
    }
    /// Pairs rows of equal keys whose event times are near: the right one's less the left one's lies in a range, both ends
    /// included. Nulls never match. Of rows that end, the partners of a left row come in order of event time; neither side need end,
    /// then pairs come as they are found: see [`join_within`](Stream::join_within).
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone)]
    /// struct Order { user: i64, #[event_time] ts: Timestamp<Micros> }
    /// #[derive(Record, Clone)]
    /// struct Payment { user: i64, cents: i64, #[event_time] ts: Timestamp<Micros> }
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Paid { user: i64, cents: i64 }
    ///
    /// pipeline! {
    ///     pub fn paid(orders: Source<Order, Bounded>, payments: Source<Payment, Bounded>);
    ///     paid = orders -> key_by(user)
    ///                   -> interval_join(payments -> key_by(user), within = -1.minute()..=1.hour(), |o, p| row Paid { user: o.user, cents: p.cents });
    ///     paid -> sink;
    /// }
    ///
    /// let at = |minute: i64| Timestamp::new(minute * 60_000_000);
    /// let orders = vec![Order { user: 1, ts: at(10) }];
    /// let payments = vec![Payment { user: 1, cents: 500, ts: at(9) }, Payment { user: 1, cents: 700, ts: at(71) }];
    /// let rows: Vec<Paid> = paid(orders, payments).collect()?;
    /// assert_eq!(rows, [Paid { user: 1, cents: 500 }]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn interval_join<S: TimedSide + SideStays>(
        self,
        right: S,
        within: impl TimeRange,
    ) -> Joined<'g, Always<R>, Always<S::Row>, <B as And<S::Bound>>::Out, C>
    where
        C: StaysInTime,
        K: KeyedAlike<S::Key>,
        T: TellsTime,
        S::Time: TellsTime,
        B: And<S::Bound>,
    {
        let within = self.range("interval_join", &within);
        self.joined(&right, JoinKind::Inner, within, Emit::default())
    }
}
