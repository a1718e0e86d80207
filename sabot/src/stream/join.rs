//! Joins by keys: what their sides must be, and the steps.

use std::sync::Arc;

use crate::kernel::{Filter, Lineage, Run, RunKernel, StepInfo, StepKind, StepMeta};
use crate::plan::{Emit, JoinKind, Matching, NodeId, Op, When};
use crate::record::{NoTime, Record, View, columns_of};

use super::graph::{Code, plan_columns};
use super::handle::replaced_key;
use super::pipe::Part;
use super::{
    Always, And, Append, Bound, Bounded, Change, Changes, Decoy, KeyTypes, Keyed, Maybe, Pair, SameKey, Stream, Unbounded, Unkeyed,
    Updated, Windowed,
};

/// The stream can be the right side of a join.
#[diagnostic::on_unimplemented(
    message = "the right side of a join must be keyed",
    label = "not keyed",
    note = "add a `key_by(..)` step: `join(listed -> key_by(symbol), |l, r| ..)`"
)]
pub trait JoinSide: Sided {
    /// Its row type.
    type Row: Record;
    /// The key's types.
    type Key;
    /// Whether it ends.
    type Bound;
    /// Whether its rows are taken back.
    type Change: Change;
    /// Whether they are, or it says that results are sent as they change.
    type Sent: Change;
    /// Whether it says so.
    const SAYS: bool = false;
}
impl<R: Record, K, B, T, C: Change> JoinSide for Stream<'_, R, Keyed<K>, B, T, C> {
    type Row = R;
    type Key = K;
    type Bound = B;
    type Change = C;
    type Sent = C;
}
#[diagnostic::do_not_recommend]
impl<R: Record, K, B, T, C: Change> JoinSide for Stream<'_, R, Updated<K>, B, T, C> {
    type Row = R;
    type Key = K;
    type Bound = B;
    type Change = C;
    type Sent = Changes;
    const SAYS: bool = true;
}
#[diagnostic::do_not_recommend]
impl<R: Record, K, E, B, T, C> JoinSide for Stream<'_, R, Windowed<K, E>, B, T, C> {
    type Row = R;
    type Key = K;
    type Bound = Bounded;
    type Change = Append;
    type Sent = Append;
}

/// The right side of a join is not cut into windows, as the left side is not.
#[diagnostic::on_unimplemented(
    message = "the right side of this join is cut into windows, the left side is not",
    label = "cut into windows",
    note = "cut both sides by the same window: `a -> key_by(k) -> window(tumbling(1.minute())) -> join(b -> key_by(k) -> window(tumbling(1.minute())), |l, r| row {{ .. }})`; or leave the window out"
)]
pub trait NotCut {}
impl<R, K, B, T, C> NotCut for Stream<'_, R, Keyed<K>, B, T, C> {}
#[diagnostic::do_not_recommend]
impl<R, K, B, T, C> NotCut for Stream<'_, R, Updated<K>, B, T, C> {}
// one that is not keyed is told so, and only that
#[diagnostic::do_not_recommend]
impl<R, B, T, C> NotCut for Stream<'_, R, Unkeyed, B, T, C> {}
#[diagnostic::do_not_recommend]
impl<S: NotCut> NotCut for On<S> {}
impl<S: JoinSide> JoinSide for On<S> {
    type Row = S::Row;
    type Key = S::Key;
    type Bound = S::Bound;
    type Change = S::Change;
    type Sent = S::Sent;
    const SAYS: bool = S::SAYS;
}

/// The stream can be the left side of a join.
#[diagnostic::on_unimplemented(
    message = "the left side of a join must be keyed",
    label = "the stream before this step is not keyed",
    note = "add a `key_by(..)` step before it"
)]
pub trait LeftSide {
    /// The key's types.
    type Key: KeyTypes;
    /// Whether it says that results are sent as they change.
    type Sent: Change;
}
impl<K: KeyTypes> LeftSide for Keyed<K> {
    type Key = K;
    type Sent = Append;
}
#[diagnostic::do_not_recommend]
impl<K: KeyTypes> LeftSide for Updated<K> {
    type Key = K;
    type Sent = Changes;
}

/// Whether rows of one side of a join are taken back: then so are pairs.
pub type Either<C, S> = <C as Change>::Or<<S as JoinSide>::Change>;
/// Whether a join is sent as it changes: because rows of one side are taken back, or because one side says so. Then rows without a partner
/// are taken back too.
pub type SentBy<K, C, S> = <<<K as LeftSide>::Sent as Change>::Or<C> as Change>::Or<<S as JoinSide>::Sent>;

/// The right side of a join ends.
#[diagnostic::on_unimplemented(
    message = "the right side of a join is read to its end before the first row comes out, but this stream may never end",
    label = "may never end",
    note = "declare its source as one that ends: `Source<T, Bounded>`; or say which rows of two streams are partners, so that the others can be forgotten: event times near each other, `join(.., ttl = 1.hour(), ..)` or `interval_join(.., within = -5.minute()..=5.minute(), ..)`; the same window of both sides, `.. -> window(w) -> join(.. -> window(w), ..)`; or the last right row at the time of the left one, `asof_join(..)`; or keep all rows of both, and send the result as it changes: `.. -> key_by(k) -> window(global(on_update)) -> join(..)`"
)]
pub trait EndsFirst<W> {}
impl<W> EndsFirst<W> for Bounded {}
#[diagnostic::do_not_recommend]
impl EndsFirst<Changes> for Unbounded {}
// with a single impl, rustc would call it a type mismatch
#[diagnostic::do_not_recommend]
impl<W> EndsFirst<Decoy<W>> for Unbounded {}

/// The left side of a join that keeps right rows without a partner ends.
#[diagnostic::on_unimplemented(
    message = "this join emits right rows without a partner when the left stream ends, but that may never end",
    label = "needs a left stream that ends",
    note = "declare its source as one that ends: `Source<T, Bounded>`; or swap the sides: `a -> left_join(b, ..)` keeps all rows of `a` as they come; or say when a right row has no partner any more: `ttl = 1.hour()`; or send it as it changes, and take it back when a partner comes: `.. -> key_by(k) -> window(global(on_update)) -> full_join(..)`"
)]
pub trait EndsLast<W> {}
impl<W> EndsLast<W> for Bounded {}
#[diagnostic::do_not_recommend]
impl EndsLast<Changes> for Unbounded {}
#[diagnostic::do_not_recommend]
impl<W> EndsLast<Decoy<W>> for Unbounded {}

/// The node and the condition of a join's right side.
#[doc(hidden)]
pub trait Sided {
    /// Its number.
    fn side(&self) -> NodeId;
    /// What pairs must fulfil beside equal keys.
    fn condition(&self) -> Option<PairCondition> {
        None
    }
}
impl<R, K, B, T, C> Sided for Stream<'_, R, K, B, T, C> {
    fn side(&self) -> NodeId {
        self.node()
    }
}
impl<S: Sided> Sided for On<S> {
    fn side(&self) -> NodeId {
        self.side.side()
    }
    fn condition(&self) -> Option<PairCondition> {
        Some(self.condition.clone())
    }
}

/// A condition on pairs of rows: what is known of it, and its code.
#[doc(hidden)]
#[derive(Clone)]
pub struct PairCondition {
    info: StepInfo,
    kernel: Arc<dyn RunKernel>,
}

/// What the condition of a join says of a pair.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`on` is true or false of a pair of rows, but this is `{Self}`",
    label = "expected `bool`",
    note = "`on` decides inside the join and cannot fail: call a function that may fail before the join, `-> with(|l| row {{ ok: check(l.x) }}) -> on_error(skip)`, and write `on = |l, r| l.ok`"
)]
pub trait Decides {
    /// The answer.
    fn decided(self) -> bool;
}
impl Decides for bool {
    #[inline(always)]
    fn decided(self) -> bool {
        self
    }
}
/// The value of a condition; used by generated code.
#[doc(hidden)]
#[inline(always)]
pub fn decided<Q: Decides>(answer: Q) -> bool {
    answer.decided()
}

/// The right side of a join with a condition on pairs; made by [`Stream::on`].
pub struct On<S> {
    side: S,
    condition: PairCondition,
}

impl<'g, R: Record, K, B, T, C> Stream<'g, R, K, B, T, C> {
    /// As the right side of a join with `left`: only pairs for which `f` is true are partners. It is asked inside the join,
    /// so that a left join keeps a left row whose pairs are all refused.
    ///
    /// In `pipeline!`: `left_join(quotes -> key_by(symbol), on = |t, q| q.size >= t.qty, |t, q| row { .. })`.
    pub fn on<L, K2, B2, T2, C2, F>(self, left: Stream<'g, L, K2, B2, T2, C2>, f: F) -> On<Self>
    where
        L: Record,
        F: for<'a> Fn(&View<'a, L>, &View<'a, R>) -> bool + Send + Sync + 'static,
    {
        self.on_with(left, None, f)
    }
    /// The same with what the macro saw of the closure.
    #[doc(hidden)]
    pub fn on_with<L, K2, B2, T2, C2, F>(self, _left: Stream<'g, L, K2, B2, T2, C2>, meta: Option<&StepMeta>, f: F) -> On<Self>
    where
        L: Record,
        F: for<'a> Fn(&View<'a, L>, &View<'a, R>) -> bool + Send + Sync + 'static,
    {
        let step = Filter::<Pair<Always<L>, Always<R>>, _, bool>::new(predicate(f));
        let (step, shapes) = Part::one(step, StepKind::Filter, meta).split();
        let mut inputs = Vec::new();
        Pair::<Always<L>, Always<R>>::columns(&mut inputs);
        let lineage = Lineage::new(inputs, &shapes);
        let infos: Vec<StepInfo> = shapes.into_iter().map(|s| s.info).collect();
        let info = infos.first().cloned().unwrap_or_else(|| StepInfo::new(StepKind::Filter, meta, &[]));
        On { side: self, condition: PairCondition { info, kernel: Arc::new(Run::new::<Pair<Always<L>, Always<R>>>(step, infos, lineage)) } }
    }
}

/// A predicate over two rows as one over the pair.
fn predicate<L: Record, R: Record, F>(f: F) -> impl for<'a> Fn(&View<'a, Pair<Always<L>, Always<R>>>) -> bool + Send + Sync + 'static
where
    F: for<'a> Fn(&View<'a, L>, &View<'a, R>) -> bool + Send + Sync + 'static,
{
    move |pair| f(&pair.left(), &pair.right())
}

/// What semi and anti joins make: left rows, by their keys.
pub type Kept<'g, R, K, B, T, S, C> = Stream<'g, R, Keyed<<K as LeftSide>::Key>, <B as And<<S as JoinSide>::Bound>>::Out, T, C>;

/// When the rows of a join come out, if its sides say so.
fn said<K: LeftSide, S: JoinSide>() -> Emit {
    let when = if K::Sent::CHANGES || S::SAYS { When::OnUpdate } else { When::OnClose };
    Emit { when, ..Emit::default() }
}

/// What joins make: rows of both sides.
pub type Joined<'g, L, R, B, C> = Stream<'g, Pair<L, R>, Unkeyed, B, NoTime, C>;

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// Joins rows of equal keys; rows without a partner are dropped. Nulls never match.
    ///
    /// The right side is read to its end before left rows pass. Not so where rows of a side are taken back, or behind
    /// `window(global(on_update))`: then neither side need end, pairs are sent as soon as both rows are there, and taken back when one of them is. All rows
    /// that count are kept, in memory. The other joins by keys do the same; there a row without a partner is sent at once, and taken back
    /// when its first partner comes.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone)]
    /// struct Order { id: i64, currency: Str, cents: i64 }
    /// #[derive(Record, Clone)]
    /// struct Rate { currency: Str, version: i64, percent: i64 }
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Worth { id: i64, cents: Option<i64> }
    ///
    /// pipeline! {
    ///     /// Orders at the rate of their currency as it is now; without one, if it is not known yet.
    ///     pub fn worth(orders: Source<Order>, rates: Source<Rate>);
    ///     now   = rates  -> key_by(currency) -> window(global(on_update)) -> top(1, desc(version));
    ///     worth = orders -> key_by(currency) -> left_join(now -> key_by(currency), |o, r| row Worth { id: o.id, cents: r?.percent * o.cents / 100 });
    ///     worth -> sink;
    /// }
    ///
    /// let order = |id, currency: &str| Order { id, currency: currency.into(), cents: 400 };
    /// let rate = |version, percent| Rate { currency: "NOK".into(), version, percent };
    /// let rows: Vec<Worth> = worth(vec![order(1, "NOK"), order(2, "JPY")], vec![rate(1, 9), rate(3, 11), rate(2, 10)]).collect()?;
    /// assert_eq!(rows.iter().map(|w| (w.id, w.cents)).max(), Some((2, None)));
    /// assert!(rows.contains(&Worth { id: 1, cents: Some(44) }));
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn join<S: JoinSide + NotCut>(self, right: S) -> Joined<'g, Always<R>, Always<S::Row>, <B as And<S::Bound>>::Out, Either<C, S>>
    where
        C: Change,
        K: LeftSide,
        <K as LeftSide>::Key: SameKey<S::Key>,
        S::Bound: EndsFirst<SentBy<K, C, S>>,
        B: And<S::Bound>,
    {
        self.joined(&right, JoinKind::Inner, Matching::Equal, said::<K, S>())
    }
    /// Joins rows of equal keys; a left row without a partner is kept, with `None` for the right row. Nulls never match.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone)]
    /// struct Person { id: i64, city: Option<Str> }
    /// #[derive(Record, Clone)]
    /// struct City { name: Str, people: i64 }
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Home { id: Option<i64>, city: Option<Str> }
    ///
    /// pipeline! {
    ///     pub fn found(people: Source<Person, Bounded>, cities: Source<City, Bounded>);
    ///     found = people -> key_by(city) -> left_join(cities -> key_by(name), on = |p, c| c.people > 1_000 * p.id, |p, c| row Home { id: Some(p.id), city: c?.name });
    ///     found -> sink;
    /// }
    ///
    /// let person = |id: i64, city: Option<&str>| Person { id, city: city.map(Into::into) };
    /// let people = vec![person(1, Some("Bergen")), person(2, None), person(3, Some("Paris"))];
    /// let cities = vec![City { name: "Bergen".into(), people: 290_000 }, City { name: "Oslo".into(), people: 710_000 }];
    /// let rows: Vec<Home> = found(people, cities).collect()?;
    /// assert_eq!(rows.iter().filter(|r| r.city.is_none()).count(), 2);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn left_join<S: JoinSide + NotCut>(
        self,
        right: S,
    ) -> Joined<'g, Always<R>, Maybe<S::Row>, <B as And<S::Bound>>::Out, SentBy<K, C, S>>
    where
        C: Change,
        K: LeftSide,
        <K as LeftSide>::Key: SameKey<S::Key>,
        S::Bound: EndsFirst<SentBy<K, C, S>>,
        B: And<S::Bound>,
    {
        self.joined(&right, JoinKind::Left, Matching::Equal, said::<K, S>())
    }
    /// Joins rows of equal keys; a right row without a partner is kept, with `None` for the left row. Nulls never match.
    /// Rows without a partner come last, in an order of their keys that does not depend on the number of threads.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone)]
    /// struct Person { id: i64, city: Option<Str> }
    /// #[derive(Record, Clone)]
    /// struct City { name: Str, people: i64 }
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Home { id: Option<i64>, city: Option<Str> }
    ///
    /// pipeline! {
    ///     pub fn found(people: Source<Person, Bounded>, cities: Source<City, Bounded>);
    ///     found = people -> key_by(city) -> right_join(cities -> key_by(name), |p, c| row Home { id: p?.id, city: Some(c.name) });
    ///     found -> sink;
    /// }
    ///
    /// let person = |id: i64, city: Option<&str>| Person { id, city: city.map(Into::into) };
    /// let people = vec![person(1, Some("Bergen")), person(2, None), person(3, Some("Paris"))];
    /// let cities = vec![City { name: "Bergen".into(), people: 290_000 }, City { name: "Oslo".into(), people: 710_000 }];
    /// let rows: Vec<Home> = found(people, cities).collect()?;
    /// assert_eq!(rows.last(), Some(&Home { id: None, city: Some("Oslo".into()) }));
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn right_join<S: JoinSide + NotCut>(
        self,
        right: S,
    ) -> Joined<'g, Maybe<R>, Always<S::Row>, <B as And<S::Bound>>::Out, SentBy<K, C, S>>
    where
        C: Change,
        K: LeftSide,
        <K as LeftSide>::Key: SameKey<S::Key>,
        S::Bound: EndsFirst<SentBy<K, C, S>>,
        B: And<S::Bound> + EndsLast<SentBy<K, C, S>>,
    {
        self.joined(&right, JoinKind::Right, Matching::Equal, said::<K, S>())
    }
    /// Joins rows of equal keys; rows of both sides without a partner are kept, with `None` for the other. Nulls never
    /// match. Right rows without a partner come last.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone)]
    /// struct Person { id: i64, city: Option<Str> }
    /// #[derive(Record, Clone)]
    /// struct City { name: Str, people: i64 }
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Home { id: Option<i64>, city: Option<Str> }
    ///
    /// pipeline! {
    ///     pub fn found(people: Source<Person, Bounded>, cities: Source<City, Bounded>);
    ///     found = people -> key_by(city) -> full_join(cities -> key_by(name), |p, c| row Home { id: p?.id, city: c?.name });
    ///     found -> sink;
    /// }
    ///
    /// let person = |id: i64, city: Option<&str>| Person { id, city: city.map(Into::into) };
    /// let people = vec![person(1, Some("Bergen")), person(2, None), person(3, Some("Paris"))];
    /// let cities = vec![City { name: "Bergen".into(), people: 290_000 }, City { name: "Oslo".into(), people: 710_000 }];
    /// let rows: Vec<Home> = found(people, cities).collect()?;
    /// assert_eq!(rows.len(), 4, "Bergen, nobody's city, Paris and Oslo");
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn full_join<S: JoinSide + NotCut>(
        self,
        right: S,
    ) -> Joined<'g, Maybe<R>, Maybe<S::Row>, <B as And<S::Bound>>::Out, SentBy<K, C, S>>
    where
        C: Change,
        K: LeftSide,
        <K as LeftSide>::Key: SameKey<S::Key>,
        S::Bound: EndsFirst<SentBy<K, C, S>>,
        B: And<S::Bound> + EndsLast<SentBy<K, C, S>>,
    {
        self.joined(&right, JoinKind::Full, Matching::Equal, said::<K, S>())
    }
    /// Keeps the left rows that have a partner, once and as they are, with key and event time. Nulls never match.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone)]
    /// struct Person { id: i64, city: Option<Str> }
    /// #[derive(Record, Clone)]
    /// struct City { name: Str, people: i64 }
    ///
    ///
    /// pipeline! {
    ///     pub fn found(people: Source<Person, Bounded>, cities: Source<City, Bounded>);
    ///     found = people -> key_by(city) -> semi_join(cities -> key_by(name));
    ///     found -> sink;
    /// }
    ///
    /// let person = |id: i64, city: Option<&str>| Person { id, city: city.map(Into::into) };
    /// let people = vec![person(1, Some("Bergen")), person(2, None), person(3, Some("Paris"))];
    /// let cities = vec![City { name: "Bergen".into(), people: 290_000 }, City { name: "Oslo".into(), people: 710_000 }];
    /// let rows: Vec<Person> = found(people, cities).collect()?;
    /// assert_eq!(rows.iter().map(|p| p.id).collect::<Vec<_>>(), [1]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn semi_join<S: JoinSide + NotCut>(self, right: S) -> Kept<'g, R, K, B, T, S, Either<C, S>>
    where
        C: Change,
        K: LeftSide,
        <K as LeftSide>::Key: SameKey<S::Key>,
        S::Bound: EndsFirst<SentBy<K, C, S>>,
        B: And<S::Bound>,
    {
        self.kept(&right, JoinKind::Semi, Matching::Equal, said::<K, S>())
    }
    /// Keeps the left rows that have no partner, as they are, with key and event time. A null key has no partner.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone)]
    /// struct Person { id: i64, city: Option<Str> }
    /// #[derive(Record, Clone)]
    /// struct City { name: Str, people: i64 }
    ///
    ///
    /// pipeline! {
    ///     pub fn found(people: Source<Person, Bounded>, cities: Source<City, Bounded>);
    ///     found = people -> key_by(city) -> anti_join(cities -> key_by(name));
    ///     found -> sink;
    /// }
    ///
    /// let person = |id: i64, city: Option<&str>| Person { id, city: city.map(Into::into) };
    /// let people = vec![person(1, Some("Bergen")), person(2, None), person(3, Some("Paris"))];
    /// let cities = vec![City { name: "Bergen".into(), people: 290_000 }, City { name: "Oslo".into(), people: 710_000 }];
    /// let rows: Vec<Person> = found(people, cities).collect()?;
    /// assert_eq!(rows.iter().map(|p| p.id).collect::<Vec<_>>(), [2, 3]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn anti_join<S: JoinSide + NotCut>(self, right: S) -> Kept<'g, R, K, B, T, S, SentBy<K, C, S>>
    where
        C: Change,
        K: LeftSide,
        <K as LeftSide>::Key: SameKey<S::Key>,
        S::Bound: EndsFirst<SentBy<K, C, S>>,
        B: And<S::Bound>,
    {
        self.kept(&right, JoinKind::Anti, Matching::Equal, said::<K, S>())
    }
    /// Left rows as they are.
    pub(super) fn kept<K2, B2: Bound, C2>(
        self,
        right: &impl Sided,
        kind: JoinKind,
        matching: Matching,
        emit: Emit,
    ) -> Stream<'g, R, K2, B2, T, C2> {
        let (op, inputs) = self.op(right, kind, matching, emit);
        let node = self.graph().add(op, inputs, self.columns(), self.keys(), B2::ENDS, self.time());
        self.conditional(node, right)
    }
}

impl<'g, R: Record, K, B, T, C> Stream<'g, R, K, B, T, C> {
    /// Rows of both sides.
    pub(super) fn joined<P: Record, B2: Bound, C2>(
        self,
        right: &impl Sided,
        kind: JoinKind,
        matching: Matching,
        emit: Emit,
    ) -> Stream<'g, P, Unkeyed, B2, NoTime, C2> {
        let columns = plan_columns(&columns_of::<P>());
        let (op, inputs) = self.op(right, kind, matching, emit);
        let node = self.graph().add(op, inputs, columns, Vec::new(), B2::ENDS, None);
        self.conditional(node, right)
    }
    fn op(self, right: &impl Sided, kind: JoinKind, matching: Matching, emit: Emit) -> (Op, Vec<NodeId>) {
        let graph = self.graph();
        let keys = |node: NodeId| graph.node(node).map(|n| n.keys).unwrap_or_default();
        let (left, other) = (keys(self.node()), keys(right.side()));
        for (side, missing) in [(self.node(), left.is_empty()), (right.side(), other.is_empty())] {
            if missing && (matching == Matching::Equal || left.len() != other.len()) {
                graph.problem(replaced_key(&graph.id(side)));
            }
        }
        let on = right.condition().map(|c| c.info);
        let op = Op::Join { kind, matching, left, right: other, on, emit, left_used: None, right_used: None };
        (op, vec![self.node(), right.side()])
    }
    fn conditional<R2, K2, B2, T2, C2>(self, node: NodeId, right: &impl Sided) -> Stream<'g, R2, K2, B2, T2, C2> {
        if let Some(condition) = right.condition() {
            self.graph().code(node, Code::Condition(condition.kernel));
        }
        Stream::new(self.graph(), node)
    }
}
