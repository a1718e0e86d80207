//! The stream handle and the steps that are not row-wise.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::operator::{Batch, BatchItem, BatchOperator, FlatMap};
use crate::plan::{EventColumn, NodeId, Op, PlanColumn, SortBy};
use crate::record::{Col, HasTime, Named, NoTime, Record, Value, View, columns_of};

use super::batch::BecomesColumn;
use super::graph::{Code, Site, plan_columns};
use super::{
    And, Append, Bound, Cut, CutsInto, Finite, Graph, Instant, IntoSink, KeyCols, Keyed, Layer, Returns, SameRows, Stays, Takes, TimeFor,
    Unbounded, Unkeyed,
};

/// A stream of `R` rows: keyed (`K`), ending (`B`), with event time (`T`), changing (`C`).
///
/// A copyable handle into a [`Graph`]. `pipeline!` only calls the methods of this type and of [`Pipe`](super::Pipe).
/// ```
/// use sabot::prelude::*;
/// use sabot::testing::Trial;
///
/// #[derive(Record, Clone)]
/// struct Trade { symbol: Str, price: f64, qty: i64, #[event_time] at: Timestamp<Micros> }
/// #[derive(Record, Debug, PartialEq)]
/// struct Minute { symbol: Str, window_end: Timestamp<Micros>, value: f64, trades: u64 }
/// #[derive(Record, Debug, PartialEq)]
/// struct Seen { symbol: Str, price: f64, jump: f64 }
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Lot { symbol: Str, n: i64 }
/// #[derive(Record, Debug, PartialEq)]
/// struct Spread { symbol: Str, above: Option<f64> }
///
/// /// How far a price is from the last one of its key.
/// #[operator]
/// fn jump(last: &mut Option<f64>, price: f64) -> Option<f64> {
///     let before = last.replace(price)?;
///     Some(price - before)
/// }
/// /// How far prices are from the lowest of their batch.
/// #[operator(batch)]
/// fn above(trades: &Batch<Trade>) -> arrow_array::Float64Array {
///     let prices = trades.price().values();
///     let least = prices.iter().copied().fold(f64::INFINITY, f64::min);
///     prices.iter().map(|p| p - least).collect()
/// }
/// /// A row per hundred pieces.
/// #[operator]
/// fn lots(trade: TradeRow<'_>) -> impl Iterator<Item = Lot> {
///     (0..trade.qty / 100).map(move |n| Lot { symbol: trade.symbol.into(), n })
/// }
///
/// pipeline! {
///     /// Steps that are not row-wise.
///     pub fn steps(trades: Source<Trade, Bounded>);
///
///     minutes = trades -> key_by(symbol) -> window(tumbling(1.minute()))
///                      -> aggregate(|t| row { value: sum(t.price * t.qty as f64), trades: count() })
///                      -> select(|m| row Minute { symbol: m.symbol, window_end: m.window_end, value: m.value, trades: m.trades });
///     jumps   = trades -> key_by(symbol) -> keyed(|t| row { jump: jump(t.price) })
///                      -> select(|t| row Seen { symbol: t.symbol, price: t.price, jump: t.jump });
///     spread  = trades -> batch(above) -> select(|t| row Spread { symbol: t.symbol, above: t.above });
///     split   = trades -> flat_map(|t| lots(t.row()));
///     again   = trades -> flat_map(|t| lots(t.row())) -> union(split) -> sort(symbol, desc(n)) -> limit(3);
///     minutes -> sink;
///     jumps -> sink;
///     spread -> sink;
///     again -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let trade = |symbol: &str, price, s: i64| Trade { symbol: symbol.into(), price, qty: 200, at: Timestamp::new(s * 1_000_000) };
/// let ran = Trial::new().run(steps(vec![trade("A", 1.0, 1), trade("B", 4.0, 2), trade("A", 1.5, 61)]))?;
/// assert_eq!(ran.rows::<Minute>("minutes")?.iter().map(|m| m.value).sum::<f64>(), 1300.0);
/// assert_eq!(ran.rows::<Seen>("jumps")?, [Seen { symbol: "A".into(), price: 1.5, jump: 0.5 }]);
/// assert_eq!(ran.rows::<Spread>("spread")?.iter().map(|s| s.above).collect::<Vec<_>>(), [Some(0.0), Some(3.0), Some(0.5)]);
/// assert_eq!(ran.rows::<Lot>("again")?.iter().map(|l| l.n).collect::<Vec<_>>(), [1, 1, 1]);
/// # Ok(()) }
/// ```
pub struct Stream<'g, R, K = Unkeyed, B = Unbounded, T = NoTime, C = Append> {
    graph: &'g Graph,
    node: NodeId,
    #[allow(clippy::type_complexity)]
    kind: PhantomData<fn() -> (R, K, B, T, C)>,
}
/// A stream as a source gives it: without a key, with the event time of its record. What functions over streams mostly take
/// and return: `fn large<B: Bound>(trades: Records<'_, Trade, B>, least: i64) -> Records<'_, Trade, B>`.
///
/// ```
/// use sabot::prelude::*;
/// use sabot::stream::{Bound, Records};
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Trade { symbol: Str, qty: i64 }
///
/// /// Works on streams that end and on those that do not.
/// fn large<B: Bound>(trades: Records<'_, Trade, B>, least: i64) -> Records<'_, Trade, B> {
///     trades.filter(move |t| t.qty >= least).stream()
/// }
///
/// pipeline! {
///     /// Large trades.
///     pub fn some(trades: Source<Trade>);
///     some = trades -> apply(|s| large(s, 5));
///     some -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let trades = vec![Trade { symbol: "A".into(), qty: 1 }, Trade { symbol: "B".into(), qty: 9 }];
/// assert_eq!(some(trades).collect::<Trade>()?, [Trade { symbol: "B".into(), qty: 9 }]);
/// # Ok(()) }
/// ```
pub type Records<'g, R, B = Unbounded> = Stream<'g, R, Unkeyed, B, <R as Record>::Time>;

impl<R, K, B, T, C> Clone for Stream<'_, R, K, B, T, C> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R, K, B, T, C> Copy for Stream<'_, R, K, B, T, C> {}

impl<'g, R, K, B, T, C> Stream<'g, R, K, B, T, C> {
    pub(super) fn new(graph: &'g Graph, node: NodeId) -> Self {
        Stream { graph, node, kind: PhantomData }
    }
    pub(super) fn graph(&self) -> &'g Graph {
        self.graph
    }
    /// Number of the stream's node in the plan.
    pub fn node(&self) -> NodeId {
        self.node
    }
    fn retype<R2, K2, B2, T2>(self) -> Stream<'g, R2, K2, B2, T2, C> {
        Stream::new(self.graph, self.node)
    }
    pub(super) fn keys(&self) -> Vec<String> {
        self.graph.node(self.node).map(|n| n.keys).unwrap_or_default()
    }
    pub(super) fn time(&self) -> Option<EventColumn> {
        self.graph.node(self.node).and_then(|n| n.time)
    }
    pub(super) fn columns(&self) -> Vec<PlanColumn> {
        self.graph.node(self.node).map(|n| n.columns).unwrap_or_default()
    }
    /// Adds a node that leaves rows as they are.
    pub(super) fn same_rows(self, op: Op) -> Self
    where
        B: Bound,
    {
        let (columns, keys, time) = (self.columns(), self.keys(), self.time());
        self.push(op, columns, keys, time)
    }
    /// Adds a node on top of this one.
    pub(super) fn push<R2, K2, B2: Bound, T2>(
        self,
        op: Op,
        columns: Vec<PlanColumn>,
        keys: Vec<String>,
        time: Option<EventColumn>,
    ) -> Stream<'g, R2, K2, B2, T2, C> {
        let node = self.graph.add(op, vec![self.node], columns, keys, B2::ENDS, time);
        Stream::new(self.graph, node)
    }
}

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// Keys the rows: `key_by(carrier)`, `key_by(carrier, origin)`.
    pub fn key_by<Q: KeyCols>(self, f: impl FnOnce(&R::Cols) -> Q) -> Stream<'g, R, Keyed<Q::K>, B, T, C> {
        let keys = f(&R::cols()).names().into_iter().map(str::to_owned).collect();
        let (columns, time) = (self.columns(), self.time());
        self.push(Op::KeyBy, columns, keys, time)
    }
    /// Declares a column to be the event time: `event_time(ts)`.
    pub fn event_time<V: Instant>(self, f: impl FnOnce(&R::Cols) -> Col<V>) -> Stream<'g, R, K, B, HasTime, C> {
        let time = EventColumn { column: f(&R::cols()).name().to_owned(), offset: 0 };
        let (columns, keys) = (self.columns(), self.keys());
        self.push(Op::EventTime, columns, keys, Some(time))
    }
    /// Cuts event time into windows: `window(tumbling(1.day()))`, `window(hop(1.hour(), 15.minute()))`, `window(session(30.minute()))`.
    ///
    /// `window(global(on_update))` cuts nothing: what an `aggregate` behind it makes of all rows of a key is sent again whenever it
    /// changes (see [`global`](super::global)).
    pub fn window<Z: Cut<Needs = N>, N, Q>(self, window: Z) -> Stream<'g, R, Z::Windowed<Q>, B, T, C>
    where
        T: TimeFor<N>,
        K: CutsInto<Q>,
    {
        let (columns, keys, time) = (self.columns(), self.keys(), self.time());
        if let Some(problem) = window.problem() {
            self.graph.problem(format!("`{}`: {problem}", self.graph.current()));
        }
        let mut node = self.node;
        for op in window.ops() {
            node = self.graph.add(op, vec![node], columns.clone(), keys.clone(), B::ENDS, time.clone());
        }
        Stream::new(self.graph, node)
    }
    /// Adds a column that a function computes from whole batches: `batch(z_score)`.
    pub fn batch<X, V, O>(self) -> Stream<'g, X::On<R>, K, B, T, C>
    where
        X: Layer<V = V>,
        V: Value,
        O: BatchItem + 'static,
        O::Array: BecomesColumn<V = V>,
        C: Stays,
    {
        let (keys, time) = (self.keys(), self.time());
        let all = columns_of::<X::On<R>>();
        let column = all.last().map(|c| c.name.to_string()).unwrap_or_default();
        let graph = self.graph;
        let reads = columns_of::<O::In>().iter().map(|c| c.name.to_string()).collect();
        let op = Op::Batch { operator: O::ENTRY.name.to_owned(), column: column.clone(), reads };
        let next = self.push(op, plan_columns(&all), keys, time);
        let make = move |site: &Site<'_>| {
            let field = arrow_schema::Field::new(&column, V::data_type(), V::NULLABLE);
            let call = |b: &Batch<O::In>| O::call(b).map(|a| Arc::new(a) as arrow_array::ArrayRef).map_err(crate::Error::Usage);
            Ok(BatchOperator::<O::In, _>::factory(site.name, field, call))
        };
        graph.code(next.node, Code::Operator(Arc::new(make)));
        next
    }
    /// Names the fields that the closure of the next step reads; used by generated code.
    #[doc(hidden)]
    pub fn reading(self, fields: Option<&[&str]>) -> Self {
        let all = columns_of::<R>();
        let name = |f: &&str| all.iter().rev().find(|c| c.ident == *f).map(|c| c.name.to_string());
        self.graph.reading(fields.map(|fields| fields.iter().filter_map(name).collect()));
        self
    }
    /// Replaces each row by any number of rows, even endlessly many: `flat_map(|t| legs(t.row()))`.
    pub fn flat_map<O: Named, F>(self, text: &str, f: F) -> Stream<'g, O, Unkeyed, B, O::Time, C>
    where
        C: Stays,
        F: for<'a> Fn(&View<'a, R>) -> Box<dyn Iterator<Item = O> + 'a> + Clone + Send + Sync + 'static,
    {
        let columns = columns_of::<O>();
        let time = columns.iter().find(|c| c.event_time).map(|c| EventColumn { column: c.name.to_string(), offset: 0 });
        let graph = self.graph;
        let op = Op::FlatMap { text: text.to_owned(), reads: graph.take_reads() };
        let next = self.push(op, plan_columns(&columns), Vec::new(), time);
        let make = move |site: &Site<'_>| Ok(FlatMap::<R, O, F>::factory(site.name, f.clone()));
        graph.code(next.node, Code::Operator(Arc::new(make)));
        next
    }
    /// Sorts all rows: `sort(carrier, desc(dep_delay))`. Stable; nulls last unless `nulls_first(..)`.
    pub fn sort<const N: usize>(self, f: impl FnOnce(&R::Cols) -> [SortBy; N]) -> Stream<'g, R, K, B, T, C>
    where
        B: Finite,
        C: Stays,
    {
        let by = f(&R::cols()).to_vec();
        let (columns, keys, time) = (self.columns(), self.keys(), self.time());
        self.push(Op::Sort { by }, columns, keys, time)
    }
    /// The first `rows` rows in source order.
    pub fn limit(self, rows: u64) -> Stream<'g, R, K, B, T, C>
    where
        C: Stays,
    {
        let (columns, keys, time) = (self.columns(), self.keys(), self.time());
        self.push(Op::Limit { rows }, columns, keys, time)
    }
    /// All rows of both streams.
    pub fn union<R2, K2, B2: Bound>(self, other: Stream<'g, R2, K2, B2, T, C>) -> Stream<'g, R, Unkeyed, <B as And<B2>>::Out, T, C>
    where
        R: SameRows<R2>,
        B: And<B2>,
    {
        let (columns, time) = (self.columns(), self.time());
        let bounded = <<B as And<B2>>::Out as Bound>::ENDS;
        let node = self.graph.add(Op::Union, vec![self.node, other.node], columns, Vec::new(), bounded, time);
        Stream::new(self.graph, node)
    }
    /// What a function over streams makes of this one: `apply(|s| top_carriers(s, 10))`, `apply(deduplicated)`.
    ///
    /// ```
    /// use sabot::prelude::*;
    /// use sabot::stream::Records;
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Trade {
    ///     qty: i64,
    /// }
    ///
    /// fn large(trades: Records<'_, Trade, Bounded>, least: i64) -> Records<'_, Trade, Bounded> {
    ///     trades.filter(move |t| t.qty >= least).stream()
    /// }
    ///
    /// pipeline! {
    ///     pub fn few(trades: Source<Trade, Bounded>, least: i64);
    ///
    ///     few = trades -> apply(|s| large(s, least)) -> limit(1);
    ///     few -> sink;
    /// }
    ///
    /// # fn main() -> sabot::Result<()> {
    /// let rows: Vec<Trade> = few(vec![Trade { qty: 1 }, Trade { qty: 5 }], 2).collect()?;
    /// assert_eq!(rows, [Trade { qty: 5 }]);
    /// # Ok(()) }
    /// ```
    pub fn apply<F: super::Flow<S>, S>(self, f: impl FnOnce(Self) -> F) -> S {
        f(self).flow()
    }

    /// Stores the rows.
    pub fn sink<S: IntoSink<R> + Takes<C>>(self, sink: S) {
        let name = self.graph.scoped(&self.graph.current());
        self.graph.fix_sink(&name, sink.into_sink());
        self.end(name, true);
    }
    /// An open end, bound by the caller under the stream's name.
    pub fn open_sink(self, name: &str) {
        self.end(self.graph.scoped(name), false);
    }
    /// The open end of a pipeline that returns `Q` rows; used by generated code.
    #[doc(hidden)]
    pub fn output<Q>(self, name: &str)
    where
        R: Returns<Q>,
        C: Stays,
    {
        if !self.graph.returned(self.node) {
            self.open_sink(name);
        }
    }
    fn end(self, name: String, fixed: bool) {
        let (columns, keys, time) = (self.columns(), self.keys(), self.time());
        let _: Stream<'g, R, K, B, T, C> = self.push(Op::Sink { name, fixed }, columns, keys, time);
    }
    /// Declares that the rows end or may not; used by generated code.
    #[doc(hidden)]
    pub fn assume<R2, K2, B2, T2>(self) -> Stream<'g, R2, K2, B2, T2, C> {
        self.retype()
    }
}

/// What is wrong with a stream whose type says that it is keyed, while no key column is left.
pub(super) fn replaced_key(step: &str) -> String {
    format!(
        "after `{step}` the stream's key column is not what it was keyed by: a step between replaced it; move `key_by` behind that step"
    )
}

/// Ascending, nulls last.
///
/// Example: [`stream`](crate::stream).
pub fn asc<V: Value>(column: Col<V>) -> SortBy {
    SortBy { column: column.name().to_owned(), descending: false, nulls_first: false }
}
/// Descending, nulls last.
///
/// Example: [`stream`](crate::stream).
pub fn desc<V: Value>(column: Col<V>) -> SortBy {
    SortBy { column: column.name().to_owned(), descending: true, nulls_first: false }
}
/// The same order with nulls before all values: `nulls_first(desc(delay))`.
///
/// Example: [`stream`](crate::stream).
pub fn nulls_first(by: SortBy) -> SortBy {
    SortBy { nulls_first: true, ..by }
}
