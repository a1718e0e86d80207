//! Joins in event time: `asof_join` and `interval_join`.

use std::ops::RangeInclusive;

use crate::plan::{Direction, JoinKind, Matching};
use crate::record::{Duration, HasTime, Record, Unit};

use super::join::Joined;
use super::{Always, Bounded, Decoy, KeyTypes, Keyed, Maybe, On, SameKey, Sided, Stays, Stream, Unkeyed};

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
impl<R: Record, K, B, T, C: Stays> TimedSide for Stream<'_, R, K, B, T, C> {
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

/// The stream ends, as joins in event time need.
#[diagnostic::on_unimplemented(
    message = "joins in event time work on streams that end, but this one may never end",
    label = "may never end",
    note = "declare the sources of both sides as ones that end: `Source<T, Bounded>`"
)]
pub trait EndsBoth {}
impl EndsBoth for Bounded {}

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
    fn range_micros(self) -> (i64, i64);
}
impl<U: Unit> TimeRange for RangeInclusive<Duration<U>> {
    fn range_micros(self) -> (i64, i64) {
        (self.start().span_micros(), self.end().span_micros())
    }
}

/// How an as-of join finds the partner of a left row.
///
/// In `pipeline!`: `asof_join(quotes -> key_by(symbol), direction = nearest, tolerance = 5.sec(), |t, q| row { .. })`.
///
/// Example: [`Stream::asof_join`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsOf {
    direction: Direction,
    tolerance: Option<i64>,
}
impl AsOf {
    /// The last right row that is not later; of several at that time the last in source order. The default.
    pub fn backward() -> Self {
        AsOf::default()
    }
    /// The first right row that is not earlier; of several at that time the first in source order.
    pub fn forward() -> Self {
        AsOf { direction: Direction::Forward, ..AsOf::default() }
    }
    /// The right row that is least far away in time; of two equally far the earlier.
    pub fn nearest() -> Self {
        AsOf { direction: Direction::Nearest, ..AsOf::default() }
    }
    /// A partner may be this far away, and no further.
    #[must_use]
    pub fn tolerance(self, most: impl TimeSpan) -> Self {
        AsOf { tolerance: Some(most.span_micros()), ..self }
    }
}

impl<'g, R: Record, K, B, T, C> Stream<'g, R, K, B, T, C> {
    /// Pairs each left row with the right row of its key that is nearest in event time on one side; a left row without one
    /// is kept, with `None`. Nulls never match. Without keys on both sides, time alone decides.
    ///
    /// The idea is kdb's `aj`; the right side is sorted by time per key, unless it comes that way.
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
    pub fn asof_join<S: TimedSide>(self, right: S, how: AsOf) -> Joined<'g, Always<R>, Maybe<S::Row>, Bounded, C>
    where
        C: Stays,
        K: KeyedAlike<S::Key>,
        T: TellsTime,
        S::Time: TellsTime,
        B: EndsBoth,
        S::Bound: EndsBoth,
    {
        if how.tolerance.is_some_and(|t| t < 0) {
            self.graph().problem(format!("the tolerance of an `asof_join` behind `{}` is negative", self.graph().id(self.node())));
        }
        self.joined(&right, JoinKind::Left, Matching::AsOf { direction: how.direction, tolerance: how.tolerance })
    }
    /// Pairs rows of equal keys whose event times are near: the right one's less the left one's lies in a range, both ends
    /// included. The partners of a left row come in order of event time. Nulls never match.
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
    pub fn interval_join<S: TimedSide>(self, right: S, within: impl TimeRange) -> Joined<'g, Always<R>, Always<S::Row>, Bounded, C>
    where
        C: Stays,
        K: KeyedAlike<S::Key>,
        T: TellsTime,
        S::Time: TellsTime,
        B: EndsBoth,
        S::Bound: EndsBoth,
    {
        let (from, to) = within.range_micros();
        if from > to {
            self.graph().problem(format!(
                "the range of an `interval_join` behind `{}` is empty: it begins {} us after its end",
                self.graph().id(self.node()),
                from.saturating_sub(to)
            ));
        }
        self.joined(&right, JoinKind::Inner, Matching::Within { from, to })
    }
}
