//! Steps over the rows of a key in an order: `top`, `over`; and `reduce`.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::kernel::Added;
use crate::operator::WindowFunction;
use crate::operator::aggregate::reduce;
use crate::plan::{AggregateColumn, Emit, Op, PlanColumn, SortBy, When};
use crate::record::{Named, Record, Value, columns_of};

use super::graph::{Code, plan_columns};
use super::{Append, Bound, Bounded, Change, Changes, Finite, Keyed, Stays, Stream, Unkeyed, Updated};

/// All rows, or those of a key; without a window, or with one that is sent as it changes.
pub trait PerKey {
    /// Whether there is a key.
    const KEYED: bool;
    /// The key of the results.
    type Out;
    /// Whether results are taken back.
    type Change: Change;
}
impl PerKey for Unkeyed {
    const KEYED: bool = false;
    type Out = Unkeyed;
    type Change = Append;
}
impl<K: 'static> PerKey for Keyed<K> {
    const KEYED: bool = true;
    type Out = Keyed<K>;
    type Change = Append;
}
impl<K: 'static> PerKey for Updated<K> {
    const KEYED: bool = true;
    type Out = Keyed<K>;
    type Change = Changes;
}

/// [`PerKey`] with its types as parameters, so that a stream that is cut into windows is one error.
#[diagnostic::on_unimplemented(
    message = "this step does not look at windows",
    label = "the stream before it is cut by `window(..)`",
    note = "a window ends in an `aggregate`; without one, put this step before `window(..)`"
)]
pub trait Gives<Q, X>: PerKey<Out = Q, Change = X> {}
#[diagnostic::do_not_recommend]
impl<K: PerKey<Out = Q, Change = X>, Q, X> Gives<Q, X> for K {}

/// All rows, or those of a key, as they come.
#[diagnostic::on_unimplemented(
    message = "this step does not look at windows",
    label = "the stream before it is cut by `window(..)`",
    note = "a window ends in an `aggregate`; without one, put this step before `window(..)`"
)]
pub trait Uncut: PerKey {}
impl Uncut for Unkeyed {}
impl<K: 'static> Uncut for Keyed<K> {}

/// The rows end, or results are sent as they change.
#[diagnostic::on_unimplemented(
    message = "an unbounded stream never ends, so this step would never emit",
    label = "needs rows that end, or results that are sent as they change",
    note = "add `key_by(..) -> window(global(on_update))` before it, which sends results as they change, or declare the source as one that ends: `Source<T, Bounded>`"
)]
pub trait EndsFor<K> {}
impl<K> EndsFor<K> for Bounded {}
#[diagnostic::do_not_recommend]
impl<K> EndsFor<Updated<K>> for super::Unbounded {}
// with a second one rustc does not show the first, which is none of the user's words
#[diagnostic::do_not_recommend]
impl<K> EndsFor<super::Decoy<K>> for super::Unbounded {}

/// The rows stay, or results are sent as they change.
#[diagnostic::on_unimplemented(
    message = "this step needs rows that stay, but the rows of this stream are taken back when results change",
    label = "the stream before it carries changes",
    note = "add `key_by(..) -> window(global(on_update))` before it, which sends results as they change, or `changelog()`: the changes as rows that stay, with a column `weight`"
)]
pub trait StaysFor<K> {}
impl<K> StaysFor<K> for Append {}
#[diagnostic::do_not_recommend]
impl<K> StaysFor<Updated<K>> for Changes {}
#[diagnostic::do_not_recommend]
impl<K> StaysFor<super::Decoy<K>> for Changes {}

/// A record whose rows a function can take and return: a struct of the user's.
#[diagnostic::on_unimplemented(
    message = "`reduce` takes rows of a named record, but this stream's rows have no name",
    label = "rows without a name",
    note = "name them first: `select(|t| row Trade {{ .. }})`"
)]
pub trait Reducible: Named {}
#[diagnostic::do_not_recommend]
impl<R: Named> Reducible for R {}

/// A window function over columns, with a result of type `V`.
pub struct OverFn<V> {
    inputs: Vec<&'static str>,
    function: Arc<dyn WindowFunction>,
    problem: Option<String>,
    kind: PhantomData<fn() -> V>,
}
impl<V> std::fmt::Debug for OverFn<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.function.describe(), self.inputs.join(", "))
    }
}
impl<V> OverFn<V> {
    fn new(inputs: Vec<&'static str>, function: impl WindowFunction + 'static) -> Self {
        OverFn { inputs, function: Arc::new(function), problem: None, kind: PhantomData }
    }
    fn at_least_one(self, offset: u64) -> Self {
        let problem = (offset == 0).then(|| "`lag` and `lead` look at least one row away, not 0".to_owned());
        OverFn { problem, ..self }
    }
    /// The function as a column of this name.
    pub fn part(self, name: &'static str) -> OverPart {
        OverPart { name, inputs: self.inputs, function: self.function, problem: self.problem }
    }
}

/// One column that `over` adds.
pub struct OverPart {
    name: &'static str,
    inputs: Vec<&'static str>,
    function: Arc<dyn WindowFunction>,
    problem: Option<String>,
}

/// The columns that an `over` step adds.
pub trait OverRow {
    /// The layer.
    type Layer: Added;
    /// Its functions, in order.
    fn parts(self) -> Vec<OverPart>;
}

/// The functions of `over`, as `pipeline!` names them.
pub mod over {
    use std::marker::PhantomData;

    use super::OverFn;
    use crate::operator::{Extreme, Mean, Neighbour, Ranking, RunningCount, RunningExtreme, RunningMean, RunningSum};
    use crate::record::{Col, NotNull, Value};
    use crate::stream::Addable;

    /// 1, 2, 3, .. in the order; rows of equal rank in source order.
    pub fn row_number() -> OverFn<u64> {
        OverFn::new(Vec::new(), Ranking::RowNumber)
    }
    /// The number of rows before the first of equal rank, plus one.
    pub fn rank() -> OverFn<u64> {
        OverFn::new(Vec::new(), Ranking::Rank)
    }
    /// The number of ranks before, plus one.
    pub fn dense_rank() -> OverFn<u64> {
        OverFn::new(Vec::new(), Ranking::DenseRank)
    }
    /// (rank - 1) / (rows - 1); 0 of a single row.
    pub fn percent_rank() -> OverFn<f64> {
        OverFn::new(Vec::new(), Ranking::PercentRank)
    }
    /// The value `offset` rows before, null before the first.
    pub fn lag<V: NotNull>(column: Col<Option<V>>, offset: u64) -> OverFn<Option<V>> {
        OverFn::new(vec![column.name()], Neighbour::<Option<V>>::back(offset)).at_least_one(offset)
    }
    /// The value `offset` rows behind, null behind the last.
    pub fn lead<V: NotNull>(column: Col<Option<V>>, offset: u64) -> OverFn<Option<V>> {
        OverFn::new(vec![column.name()], Neighbour::<Option<V>>::ahead(offset)).at_least_one(offset)
    }
    /// The number of rows so far.
    pub fn count() -> OverFn<u64> {
        OverFn::new(Vec::new(), RunningCount)
    }
    /// The number of rows so far in which a column is not null.
    pub fn count_of<V: Value>(column: Col<V>) -> OverFn<u64> {
        OverFn::new(vec![column.name()], RunningCount)
    }
    /// The sum so far; nulls are skipped.
    pub fn sum<V: Addable<S>, S>(column: Col<V>) -> OverFn<S> {
        OverFn::new(vec![column.name()], RunningSum::<V>(PhantomData))
    }
    /// The least value so far; nulls are skipped.
    pub fn min<V: Extreme>(column: Col<V>) -> OverFn<V> {
        OverFn::new(vec![column.name()], RunningExtreme::<V> { greatest: false, kind: PhantomData })
    }
    /// The greatest value so far; nulls are skipped.
    pub fn max<V: Extreme>(column: Col<V>) -> OverFn<V> {
        OverFn::new(vec![column.name()], RunningExtreme::<V> { greatest: true, kind: PhantomData })
    }
    /// The mean so far; nulls are skipped, of nothing it is null.
    pub fn mean<V: Mean>(column: Col<V>) -> OverFn<Option<f64>> {
        OverFn::new(vec![column.name()], RunningMean::<V>(PhantomData))
    }
}

/// The column in which `reduce` keeps rows.
const ROW: &str = "__row";

/// When the results of a step over this key are sent.
fn sent_by<K: PerKey>() -> Emit {
    if K::Change::CHANGES { Emit { when: When::OnUpdate, ..Emit::default() } } else { Emit::default() }
}

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// The first `rows` rows in an order, in that order; of a keyed stream, of each key. Rows of equal rank are in source
    /// order. Of a keyed stream rows come by key group, then key, then order. In `pipeline!`:
    /// `top(10, desc(price), symbol)`.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Score { team: Str, points: i64 }
    ///
    /// pipeline! {
    ///     /// The best of each team.
    ///     pub fn best(scores: Source<Score, Bounded>);
    ///     best = scores -> key_by(team) -> top(1, desc(points));
    ///     best -> sink;
    /// }
    ///
    /// let score = |team: &str, points| Score { team: team.into(), points };
    /// let mut rows = best(vec![score("a", 1), score("b", 7), score("a", 3)]).collect::<Score>()?;
    /// rows.sort_by_key(|s| s.points);
    /// assert_eq!(rows, [score("a", 3), score("b", 7)]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    ///
    /// Behind `window(global(on_update))` they are sent as they change, and rows of equal rank go by their other columns.
    pub fn top<Q, X, const N: usize>(self, rows: u64, f: impl FnOnce(&R::Cols) -> [SortBy; N]) -> Stream<'g, R, Q, B, T, X>
    where
        K: Gives<Q, X>,
        B: EndsFor<K>,
        C: StaysFor<K>,
    {
        let by = f(&R::cols()).to_vec();
        self.key_is_there::<K>();
        let emit = sent_by::<K>();
        let node = self.same_rows(Op::Top { rows, by, emit }).node();
        Stream::new(self.graph(), node)
    }

    /// Adds columns that functions compute over the rows of a key (or all rows) in an order: ranks, `lag` and `lead`, and
    /// running aggregates, over the rows from the first of the key up to the row itself (SQL's `ROWS BETWEEN UNBOUNDED
    /// PRECEDING AND CURRENT ROW`). Without an order, aggregates are over all rows of the key.
    ///
    /// All columns of `base`, the stream before its input columns were added, are kept. Rows come by key group, then key
    /// in order of first appearance, then in the order; equal rows in source order. All rows are held until the input ends.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Trade { symbol: Str, at: i64, price: i64 }
    ///
    /// /// A trade, and what came before.
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Told { symbol: Str, at: i64, price: i64, n: u64, before: Option<i64>, sum: i64 }
    ///
    /// pipeline! {
    ///     /// Each trade beside the one before.
    ///     pub fn told(trades: Source<Trade, Bounded>);
    ///     told = trades -> key_by(symbol) -> over(at, |t| row { n: row_number(), before: lag(t.price), sum: sum(t.price) });
    ///     told -> sink;
    /// }
    ///
    /// let trade = |at, price| Trade { symbol: "x".into(), at, price };
    /// let rows = told(vec![trade(2, 30), trade(1, 10)]).collect::<Told>()?;
    /// assert_eq!(rows[0], Told { symbol: "x".into(), at: 1, price: 10, n: 1, before: None, sum: 10 });
    /// assert_eq!(rows[1], Told { symbol: "x".into(), at: 2, price: 30, n: 2, before: Some(10), sum: 40 });
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn over<R0: Record, K0, B0, T0, C0, O: OverRow, const N: usize>(
        self,
        _base: Stream<'g, R0, K0, B0, T0, C0>,
        by: impl FnOnce(&R::Cols) -> [SortBy; N],
        f: impl FnOnce(&R::Cols) -> O,
    ) -> Stream<'g, <O::Layer as Added>::On<R0>, K, B, T, C>
    where
        K: Uncut,
        B: Finite,
        C: Stays,
    {
        let graph = self.graph();
        let (by, parts) = (by(&R::cols()).to_vec(), f(&R::cols()).parts());
        self.key_is_there::<K>();
        parts.iter().filter_map(|p| p.problem.clone()).for_each(|problem| graph.problem(problem));
        let functions: Vec<AggregateColumn> = parts
            .iter()
            .map(|p| AggregateColumn {
                name: p.name.to_owned(),
                function: p.function.describe(),
                inputs: p.inputs.iter().map(|i| (*i).to_owned()).collect(),
            })
            .collect();
        let replaced = |name: &String| functions.iter().any(|f| f.name == *name);
        let keys = if self.keys().iter().any(replaced) { Vec::new() } else { self.keys() };
        let time = self.time().filter(|t| !replaced(&t.column));
        let columns = plan_columns(&columns_of::<<O::Layer as Added>::On<R0>>());
        let next = self.push(Op::Over { by, functions }, columns, keys, time);
        graph.code(next.node(), Code::Over(parts.into_iter().map(|p| p.function).collect()));
        next
    }

    /// All rows of a key (or all rows) as one, by a function of two: the row so far, and the next in source order. Rows are
    /// owned values of the stream's record. The key columns stay as they were, whatever `f` makes of them.
    ///
    /// `f` must be associative, `f(f(a, b), c) == f(a, f(b, c))`: each split of the source is reduced on its own, and the
    /// results in the order of the splits. It need not be commutative. Of no rows there is no row.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Reading { sensor: i64, least: f64, most: f64 }
    ///
    /// pipeline! {
    ///     /// The range of each sensor.
    ///     pub fn ranges(readings: Source<Reading, Bounded>);
    ///     ranges = readings -> key_by(sensor)
    ///                       -> reduce(|a, b| Reading { least: a.least.min(b.least), most: a.most.max(b.most), ..a });
    ///     ranges -> sink;
    /// }
    ///
    /// let reading = |v| Reading { sensor: 1, least: v, most: v };
    /// let rows = ranges(vec![reading(2.0), reading(0.5), reading(1.0)]).collect::<Reading>()?;
    /// assert_eq!(rows, [Reading { sensor: 1, least: 0.5, most: 2.0 }]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    ///
    /// Behind `window(global(on_update))` the row is sent as it changes; `f` must be commutative then, as rows come in no order.
    pub fn reduce<F: Fn(R, R) -> R + Send + Sync + 'static, Q, X>(self, f: F) -> Stream<'g, R, Q, B, T, X>
    where
        R: Reducible,
        K: Gives<Q, X>,
        B: EndsFor<K>,
        C: StaysFor<K>,
    {
        let graph = self.graph();
        self.key_is_there::<K>();
        let (columns, time) = (self.columns(), self.time());
        let keys = if K::KEYED { self.keys() } else { Vec::new() };
        let record: Vec<String> = columns_of::<R>().iter().map(|c| c.name.to_string()).collect();
        let functions = vec![AggregateColumn { name: ROW.into(), function: "reduce".into(), inputs: record }];
        let mut reduced: Vec<PlanColumn> = keys.iter().filter_map(|k| columns.iter().find(|c| c.name == *k)).cloned().collect();
        reduced.push(PlanColumn { name: ROW.into(), data_type: <R as Value>::data_type(), nullable: true });
        let grouped: Self = self.push(Op::Aggregate { window: None, functions, emit: sent_by::<K>() }, reduced, keys.clone(), None);
        graph.code(grouped.node(), Code::Aggregate(vec![reduce::<R, F>(f)]));
        let rows: Self = grouped.push(Op::Unnest { column: ROW.into() }, columns, keys, time);
        Stream::new(graph, rows.node())
    }

    /// Notes a key that a step between replaced.
    fn key_is_there<Q: PerKey>(self) {
        if Q::KEYED && self.keys().is_empty() {
            self.graph().problem(super::handle::replaced_key(&self.graph().id(self.node())));
        }
    }
}
