//! Joins of rows that are near in event time, of every kind: `left_join(.., within = ..)`, `join(.., ttl = ..)`.

use std::ops::RangeInclusive;

use crate::plan::{Emit, JoinKind, Matching};
use crate::record::{Duration, Micros, Record};

use super::join::Joined;
use super::timed_join::{KeyedAlike, SideStays, StaysInTime, TellsTime, TimeRange, TimeSpan, TimedSide};
use super::{Always, And, Bound, Maybe, Stream};

/// The range of [`join_within`](Stream::join_within) and its like that `ttl = 1.hour()` means: event times at most this far apart,
/// whichever is the earlier.
pub fn ttl(length: impl TimeSpan) -> RangeInclusive<Duration<Micros>> {
    let micros = length.span_micros();
    Duration::new(micros.saturating_neg())..=Duration::new(micros)
}

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// Joins rows of equal keys whose event times are near: the right one's less the left one's lies in a range, both ends
    /// included. The same as [`interval_join`](Stream::interval_join).
    ///
    /// In `pipeline!`: `join(b -> key_by(k), ttl = 1.hour(), |l, r| row { .. })`, for event times at most an hour apart,
    /// or `within = 0.sec()..=1.hour()` for a right row that is up to an hour later.
    ///
    /// Neither side need end. A row is forgotten when the other side's watermark says that no partner follows, so what is kept
    /// does not grow as time passes, and the result is that of the same rows in a batch.
    ///
    /// ```
    /// use sabot::prelude::*;
    /// use sabot::testing::Trial;
    ///
    /// #[derive(Record, Clone)]
    /// struct Login { user: i64, #[event_time] at: Timestamp<Micros> }
    /// #[derive(Record, Clone)]
    /// struct Payment { user: i64, cents: i64, #[event_time] at: Timestamp<Micros> }
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Paid { user: i64, cents: i64 }
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Idle { user: i64, at: Timestamp<Micros> }
    ///
    /// pipeline! {
    ///     /// Payments near a login, and logins that no payment followed within ten minutes.
    ///     pub fn shop(logins: Source<Login>, payments: Source<Payment>);
    ///     paid = logins -> key_by(user) -> join(payments -> key_by(user), ttl = 1.hour(), |l, p| row Paid { user: l.user, cents: p.cents });
    ///     idle = logins -> key_by(user) -> anti_join(payments -> key_by(user), within = 0.sec()..=10.minute())
    ///                   -> select(|l| row Idle { user: l.user, at: l.at });
    ///     paid -> sink;
    ///     idle -> sink;
    /// }
    ///
    /// let at = |minute: i64| Timestamp::new(minute * 60_000_000);
    /// let logins = vec![Login { user: 1, at: at(0) }, Login { user: 2, at: at(5) }];
    /// let payments = vec![Payment { user: 1, cents: 900, at: at(7) }, Payment { user: 2, cents: 100, at: at(40) }];
    /// let ran = Trial::new().run(shop(logins, payments))?;
    /// assert_eq!(ran.rows::<Paid>("paid")?.len(), 2);
    /// assert_eq!(ran.rows::<Idle>("idle")?, [Idle { user: 2, at: at(5) }]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn join_within<S: TimedSide + SideStays>(
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
        let within = self.range("join", &within);
        self.joined(&right, JoinKind::Inner, within, Emit::default())
    }
    /// As [`join_within`](Stream::join_within); a left row without a partner is kept, with `None` for the right row: it comes out when
    /// the right watermark says that it has none.
    pub fn left_join_within<S: TimedSide + SideStays>(
        self,
        right: S,
        within: impl TimeRange,
    ) -> Joined<'g, Always<R>, Maybe<S::Row>, <B as And<S::Bound>>::Out, C>
    where
        C: StaysInTime,
        K: KeyedAlike<S::Key>,
        T: TellsTime,
        S::Time: TellsTime,
        B: And<S::Bound>,
    {
        let within = self.range("left_join", &within);
        self.joined(&right, JoinKind::Left, within, Emit::default())
    }
    /// As [`join_within`](Stream::join_within); a right row without a partner is kept, with `None` for the left row: it comes out when
    /// the left watermark says that it has none.
    pub fn right_join_within<S: TimedSide + SideStays>(
        self,
        right: S,
        within: impl TimeRange,
    ) -> Joined<'g, Maybe<R>, Always<S::Row>, <B as And<S::Bound>>::Out, C>
    where
        C: StaysInTime,
        K: KeyedAlike<S::Key>,
        T: TellsTime,
        S::Time: TellsTime,
        B: And<S::Bound>,
    {
        let within = self.range("right_join", &within);
        self.joined(&right, JoinKind::Right, within, Emit::default())
    }
    /// As [`join_within`](Stream::join_within); rows of both sides without a partner are kept, with `None` for the other: they come out
    /// when the other side's watermark says that they have none.
    pub fn full_join_within<S: TimedSide + SideStays>(
        self,
        right: S,
        within: impl TimeRange,
    ) -> Joined<'g, Maybe<R>, Maybe<S::Row>, <B as And<S::Bound>>::Out, C>
    where
        C: StaysInTime,
        K: KeyedAlike<S::Key>,
        T: TellsTime,
        S::Time: TellsTime,
        B: And<S::Bound>,
    {
        let within = self.range("full_join", &within);
        self.joined(&right, JoinKind::Full, within, Emit::default())
    }
    /// Keeps the left rows that have a partner as in [`join_within`](Stream::join_within), once and as they are, with key and event time, as
    /// soon as the first partner is there.
    pub fn semi_join_within<S: TimedSide + SideStays>(self, right: S, within: impl TimeRange) -> Self
    where
        C: StaysInTime,
        K: KeyedAlike<S::Key>,
        T: TellsTime,
        S::Time: TellsTime,
    {
        let within = self.range("semi_join", &within);
        self.kept(&right, JoinKind::Semi, within, Emit::default())
    }
    /// Keeps the left rows that have no partner as in [`join_within`](Stream::join_within), as they are, with key and event time, when
    /// the right watermark says that they have none.
    pub fn anti_join_within<S: TimedSide + SideStays>(self, right: S, within: impl TimeRange) -> Self
    where
        C: StaysInTime,
        K: KeyedAlike<S::Key>,
        T: TellsTime,
        S::Time: TellsTime,
    {
        let within = self.range("anti_join", &within);
        self.kept(&right, JoinKind::Anti, within, Emit::default())
    }
    /// A range as the plan has it.
    pub(super) fn range(self, step: &str, within: &impl TimeRange) -> Matching {
        let (from, to) = within.range_micros();
        if from > to {
            self.graph().problem(format!(
                "the range of a `{step}` behind `{}` is empty: it begins {} us after its end",
                self.graph().id(self.node()),
                from.saturating_sub(to)
            ));
        }
        Matching::Within { from, to }
    }
}
