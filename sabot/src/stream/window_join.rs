//! Joins of rows in the same window: `a -> key_by(k) -> window(w) -> join(b -> key_by(k) -> window(w), ..)`.

use crate::plan::{Emit, EventColumn, JoinKind, Matching, Op, Span};
use crate::record::{Col, HasTime, NoTime, Record};

use super::aggregate::window_of;
use super::{
    Always, And, Bound, InWindow, Instant, KeyTypes, Maybe, On, SameKey, SideStays, Sided, StaysInTime, Stream, Unkeyed, Windowed,
};

/// The stream can be the right side of a join of windows.
#[diagnostic::on_unimplemented(
    message = "the left side of this join is cut into windows, the right side is not",
    label = "not cut into windows",
    note = "cut both sides by the same window: `a -> key_by(k) -> window(tumbling(1.minute())) -> join(b -> key_by(k) -> window(tumbling(1.minute())), |l, r| row {{ .. }})`"
)]
pub trait WindowSide: Sided {
    /// Its row type.
    type Row: Record;
    /// The key's types.
    type Key;
    /// Whether it ends.
    type Bound;
}
impl<R: Record, K, B, T, C> WindowSide for Stream<'_, R, Windowed<K>, B, T, C> {
    type Row = R;
    type Key = K;
    type Bound = B;
}
impl<S: WindowSide> WindowSide for On<S> {
    type Row = S::Row;
    type Key = S::Key;
    type Bound = S::Bound;
}

/// What joins of windows make: rows of both sides, and their window.
pub type JoinedInWindow<'g, L, R, B, C> = Stream<'g, InWindow<L, R>, Unkeyed, B, NoTime, C>;

impl<'g, R: Record, K: KeyTypes, B: Bound, T, C> Stream<'g, R, Windowed<K>, B, T, C> {
    /// Joins rows of equal keys in the same window, when both sides' watermarks have passed its end; rows without a partner in it are
    /// dropped. Nulls never match. A row that is in several windows has partners in each of them.
    ///
    /// In `pipeline!` it is the step `join` behind a `window`. The result carries `window_start` and `window_end`, then the columns of the
    /// closure's row, and has the last moment of the window as its event time, so that windows chain. A named row,
    /// `|l, r, w| row Pair { end: w.window_end, .. }`, has what the closure gives it.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone)]
    /// struct Person { id: i64, #[event_time] at: Timestamp<Micros> }
    /// #[derive(Record, Clone)]
    /// struct Auction { seller: i64, item: i64, #[event_time] at: Timestamp<Micros> }
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct New { window_start: Timestamp<Micros>, seller: i64, item: i64 }
    ///
    /// pipeline! {
    ///     /// What people sell in the ten seconds in which they came.
    ///     pub fn sales(people: Source<Person>, auctions: Source<Auction>);
    ///     sales = people -> key_by(id) -> window(tumbling(10.sec()))
    ///                    -> join(auctions -> key_by(seller) -> window(tumbling(10.sec())), |p, a| row { seller: p.id, item: a.item })
    ///                    -> select(|s| row New { window_start: s.window_start, seller: s.seller, item: s.item });
    ///     sales -> sink;
    /// }
    ///
    /// let at = |s: i64| Timestamp::new(s * 1_000_000);
    /// let people = vec![Person { id: 1, at: at(12) }, Person { id: 2, at: at(19) }];
    /// let auctions = vec![Auction { seller: 1, item: 7, at: at(18) }, Auction { seller: 2, item: 8, at: at(20) }];
    /// let rows: Vec<New> = sales(people, auctions).collect()?;
    /// assert_eq!(rows, [New { window_start: at(10), seller: 1, item: 7 }]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn join_window<S: WindowSide + SideStays>(
        self,
        right: S,
    ) -> JoinedInWindow<'g, Always<R>, Always<S::Row>, <B as And<S::Bound>>::Out, C>
    where
        C: StaysInTime,
        K: SameKey<S::Key>,
        B: And<S::Bound>,
    {
        let window = self.same_window(&right, JoinKind::Inner);
        self.joined(&right, JoinKind::Inner, window, Emit::default())
    }
    /// As [`join_window`](Stream::join_window); a left row without a partner in a window is kept, with `None` for the right row.
    pub fn left_join_window<S: WindowSide + SideStays>(
        self,
        right: S,
    ) -> JoinedInWindow<'g, Always<R>, Maybe<S::Row>, <B as And<S::Bound>>::Out, C>
    where
        C: StaysInTime,
        K: SameKey<S::Key>,
        B: And<S::Bound>,
    {
        let window = self.same_window(&right, JoinKind::Left);
        self.joined(&right, JoinKind::Left, window, Emit::default())
    }
    /// As [`join_window`](Stream::join_window); a right row without a partner in a window is kept, with `None` for the left row.
    pub fn right_join_window<S: WindowSide + SideStays>(
        self,
        right: S,
    ) -> JoinedInWindow<'g, Maybe<R>, Always<S::Row>, <B as And<S::Bound>>::Out, C>
    where
        C: StaysInTime,
        K: SameKey<S::Key>,
        B: And<S::Bound>,
    {
        let window = self.same_window(&right, JoinKind::Right);
        self.joined(&right, JoinKind::Right, window, Emit::default())
    }
    /// As [`join_window`](Stream::join_window); rows of both sides without a partner in a window are kept, with `None` for the other.
    pub fn full_join_window<S: WindowSide + SideStays>(
        self,
        right: S,
    ) -> JoinedInWindow<'g, Maybe<R>, Maybe<S::Row>, <B as And<S::Bound>>::Out, C>
    where
        C: StaysInTime,
        K: SameKey<S::Key>,
        B: And<S::Bound>,
    {
        let window = self.same_window(&right, JoinKind::Full);
        self.joined(&right, JoinKind::Full, window, Emit::default())
    }
    /// Keeps the left rows that have a partner in their window, once and as they are, with key, window and event time. For windows that do not
    /// overlap.
    pub fn semi_join_window<S: WindowSide + SideStays>(self, right: S) -> Self
    where
        C: StaysInTime,
        K: SameKey<S::Key>,
    {
        let window = self.same_window(&right, JoinKind::Semi);
        self.kept(&right, JoinKind::Semi, window, Emit::default())
    }
    /// Keeps the left rows that have no partner in their window, as they are, with key, window and event time. For windows that do not
    /// overlap.
    pub fn anti_join_window<S: WindowSide + SideStays>(self, right: S) -> Self
    where
        C: StaysInTime,
        K: SameKey<S::Key>,
    {
        let window = self.same_window(&right, JoinKind::Anti);
        self.kept(&right, JoinKind::Anti, window, Emit::default())
    }
    /// The window of both sides; what is wrong with it is noted.
    fn same_window(self, right: &impl Sided, kind: JoinKind) -> Matching {
        let graph = self.graph();
        let (here, there) = (window_of(graph, self.node()), window_of(graph, right.side()));
        let window = here.unwrap_or(Span::Aligned { size: 0, slide: 0 });
        let step = graph.current();
        match window {
            _ if here != there => graph.problem(format!(
                "`{step}` joins rows of different windows, {} and {}: cut both sides by the same window",
                here.map_or_else(String::new, |w| w.to_string()),
                there.map_or_else(String::new, |w| w.to_string())
            )),
            Span::Session { .. } => graph.problem(format!(
                "`{step}` joins rows of sessions, but each side has sessions of its own: join rows of `tumbling` or `hop` windows, or rows that are near in time, `join(.., ttl = 30.minute(), ..)`"
            )),
            Span::Aligned { size, slide } if size != slide && !kind.pairs() => graph.problem(format!(
                "`{step}` keeps left rows by what is in their window, but windows overlap, so a row is in several: use `tumbling` windows"
            )),
            Span::Aligned { .. } => {}
        }
        Matching::SameWindow { window }
    }
}

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// The last moment of the window that ends in this column is the event time; used by generated code.
    #[doc(hidden)]
    pub fn in_window<V: Instant>(self, f: impl FnOnce(&R::Cols) -> Col<V>) -> Stream<'g, R, K, B, HasTime, C> {
        let time = EventColumn { column: f(&R::cols()).name().to_owned(), offset: -1 };
        let (columns, keys) = (self.columns(), self.keys());
        self.push(Op::EventTime, columns, keys, Some(time))
    }
}
