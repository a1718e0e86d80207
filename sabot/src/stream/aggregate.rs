//! The aggregate step and its functions.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::operator::aggregate::{Digested, Distinct, Ranked, Spread, Truth, Varies};
use crate::operator::{AccumulatorFactory, Aggregate, Extreme, Mean, Summand};
use crate::plan::{AggregateColumn, Emit, EventColumn, Op, Span};
use crate::record::{Col, List, Nullable, Record, Value, columns_of};

use super::graph::{Code, plan_columns};
use super::{Bound, Change, Closes, Emits, Stream, Unkeyed};

/// An aggregate function over columns, with a result of type `V`.
pub struct Agg<V> {
    inputs: Vec<&'static str>,
    factory: Arc<dyn AccumulatorFactory>,
    /// For a function that depends on the order of rows: the same with event time as one more input.
    timed: Option<Arc<dyn AccumulatorFactory>>,
    problem: Option<String>,
    kind: PhantomData<fn() -> V>,
}
impl<V> std::fmt::Debug for Agg<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.factory.describe(), self.inputs.join(", "))
    }
}
impl<V> Agg<V> {
    fn new(inputs: Vec<&'static str>, factory: Arc<dyn AccumulatorFactory>) -> Self {
        Agg { inputs, factory, timed: None, problem: None, kind: PhantomData }
    }
    /// A function of one column that depends on the order of rows: `make` with whether it gets event time.
    fn in_order<I>(column: Col<I>, make: impl Fn(bool) -> Arc<dyn AccumulatorFactory>) -> Self {
        Agg { timed: Some(make(true)), ..Self::new(vec![column.name()], make(false)) }
    }
    /// A function with a constant that must be a fraction.
    fn at_fraction<I>(name: &str, column: Col<I>, fraction: f64, factory: Arc<dyn AccumulatorFactory>) -> Self {
        let problem = (!(0.0..=1.0).contains(&fraction)).then(|| {
            format!("`{name}` takes a fraction between 0 and 1, not {fraction}: the median is at 0.5, the 90th percentile at 0.9")
        });
        Agg { problem, ..Self::new(vec![column.name()], factory) }
    }
    /// The function as a column of this name.
    pub fn part(self, name: &'static str) -> AggregatePart {
        AggregatePart { name, inputs: self.inputs, factory: self.factory, timed: self.timed, problem: self.problem }
    }
}

/// One output column of an aggregate step.
pub struct AggregatePart {
    name: &'static str,
    inputs: Vec<&'static str>,
    factory: Arc<dyn AccumulatorFactory>,
    timed: Option<Arc<dyn AccumulatorFactory>>,
    problem: Option<String>,
}

impl AggregatePart {
    /// The columns that it reads and its function, over a stream with this event time.
    fn over(self, time: Option<&EventColumn>) -> (Vec<String>, Arc<dyn AccumulatorFactory>) {
        let mut inputs: Vec<String> = self.inputs.iter().map(|i| (*i).to_owned()).collect();
        match (self.timed, time) {
            (Some(timed), Some(time)) => {
                inputs.push(time.column.clone());
                (inputs, timed)
            }
            _ => (inputs, self.factory),
        }
    }
}

/// The row that an `aggregate` step makes: key columns, then aggregates.
pub trait AggregateRow {
    /// The record.
    type Out: Record;
    /// The aggregates, in order.
    fn parts(self) -> Vec<AggregatePart>;
}

/// [`Summand`] with the sum's type as a parameter, so that a column that cannot be added up is one error.
#[diagnostic::on_unimplemented(
    message = "`sum` cannot add values of type `{Self}`",
    label = "not a number",
    note = "`sum` takes integers, floats, decimals and durations, and `Option` of these"
)]
pub trait Addable<S>: Summand<Sum = S> {}
#[diagnostic::do_not_recommend]
impl<V: Summand<Sum = S>, S: Value> Addable<S> for V {}

/// [`Ranked`] with the quantile's type as a parameter, so that a column without quantiles is one error.
#[diagnostic::on_unimplemented(
    message = "`quantile` and `median` cannot take values of type `{Self}`",
    label = "nothing lies between two of these",
    note = "they take integers, floats, decimals, timestamps and durations, and `Option` of these; `min` and `max` take text too"
)]
pub trait Between<Q>: Ranked<Quantile = Q> {}
#[diagnostic::do_not_recommend]
impl<V: Ranked<Quantile = Q>, Q: Value> Between<Q> for V {}

/// The built-in aggregate functions, as `pipeline!` names them.
pub mod agg {
    use super::{Addable, Agg, Between, Col, Digested, Distinct, Extreme, List, Mean, Nullable, Spread, Truth, Value, Varies};
    use crate::operator::aggregate as functions;

    /// The sum; nulls are skipped. Integers widen to 64 bits and are checked for overflow.
    pub fn sum<V: Addable<S>, S>(column: Col<V>) -> Agg<S> {
        Agg::new(vec![column.name()], functions::sum::<V>())
    }
    /// The number of rows.
    pub fn count() -> Agg<u64> {
        Agg::new(Vec::new(), functions::count())
    }
    /// The number of rows in which a column is not null: `count(t.x)`.
    pub fn count_of<V: Value>(column: Col<V>) -> Agg<u64> {
        Agg::new(vec![column.name()], functions::count_of())
    }
    /// The smallest value; nulls are skipped. Of a stream without key, use [`min_of_all`] (`pipeline!` does).
    pub fn min<V: Extreme>(column: Col<V>) -> Agg<V> {
        Agg::new(vec![column.name()], functions::min::<V>())
    }
    /// The largest value; nulls are skipped. Of a stream without key, use [`max_of_all`] (`pipeline!` does).
    pub fn max<V: Extreme>(column: Col<V>) -> Agg<V> {
        Agg::new(vec![column.name()], functions::max::<V>())
    }
    /// [`min`] without a key: there may be no row at all, and then it is null.
    pub fn min_of_all<V: Extreme>(column: Col<V>) -> Agg<V::Nullable> {
        Agg::new(vec![column.name()], functions::min::<V::Nullable>())
    }
    /// [`max`] without a key: there may be no row at all, and then it is null.
    pub fn max_of_all<V: Extreme>(column: Col<V>) -> Agg<V::Nullable> {
        Agg::new(vec![column.name()], functions::max::<V::Nullable>())
    }
    /// The arithmetic mean as a float; nulls are skipped, over nothing it is null.
    pub fn mean<V: Mean>(column: Col<V>) -> Agg<Option<f64>> {
        Agg::new(vec![column.name()], functions::mean::<V>())
    }
    /// The sample variance; nulls are skipped, over fewer than two values it is null.
    pub fn var<V: Varies>(column: Col<V>) -> Agg<Option<f64>> {
        Agg::new(vec![column.name()], functions::spread::<V>(Spread::Var))
    }
    /// The variance of a whole population; nulls are skipped, over nothing it is null.
    pub fn var_pop<V: Varies>(column: Col<V>) -> Agg<Option<f64>> {
        Agg::new(vec![column.name()], functions::spread::<V>(Spread::VarPop))
    }
    /// The sample standard deviation; nulls are skipped, over fewer than two values it is null.
    pub fn stddev<V: Varies>(column: Col<V>) -> Agg<Option<f64>> {
        Agg::new(vec![column.name()], functions::spread::<V>(Spread::Stddev))
    }
    /// The standard deviation of a whole population; nulls are skipped, over nothing it is null.
    pub fn stddev_pop<V: Varies>(column: Col<V>) -> Agg<Option<f64>> {
        Agg::new(vec![column.name()], functions::spread::<V>(Spread::StddevPop))
    }
    /// The value in the first row, a null too: by event time where the stream has it, then in source order. Of a stream
    /// without key, use [`first_of_all`] (`pipeline!` does).
    pub fn first<V: Value>(column: Col<V>) -> Agg<V> {
        Agg::in_order(column, functions::first::<V>)
    }
    /// The value in the last row; as [`first`].
    pub fn last<V: Value>(column: Col<V>) -> Agg<V> {
        Agg::in_order(column, functions::last::<V>)
    }
    /// [`first`] without a key: there may be no row at all, and then it is null.
    pub fn first_of_all<V: Nullable>(column: Col<V>) -> Agg<V::Option> {
        Agg::in_order(column, functions::first::<V::Option>)
    }
    /// [`last`] without a key: there may be no row at all, and then it is null.
    pub fn last_of_all<V: Nullable>(column: Col<V>) -> Agg<V::Option> {
        Agg::in_order(column, functions::last::<V::Option>)
    }
    /// All values as a list, nulls too, in the order of [`first`]. Of a stream without key, use [`collect_of_all`]
    /// (`pipeline!` does).
    pub fn collect<V: Value>(column: Col<V>) -> Agg<List<V>> {
        Agg::in_order(column, |timed| functions::collect::<V>(timed, false))
    }
    /// [`collect`] without a key: there may be no row at all, and then it is null.
    pub fn collect_of_all<V: Value>(column: Col<V>) -> Agg<Option<List<V>>> {
        Agg::in_order(column, |timed| functions::collect::<V>(timed, true))
    }
    /// The number of distinct values; nulls are skipped.
    pub fn count_distinct<V: Distinct>(column: Col<V>) -> Agg<u64> {
        Agg::new(vec![column.name()], functions::count_distinct::<V>())
    }
    /// The number of distinct values, about: exact up to 256, beyond with a standard error of 1.6 %. Nulls are skipped.
    pub fn approx_count_distinct<V: Distinct>(column: Col<V>) -> Agg<u64> {
        Agg::new(vec![column.name()], functions::approx_count_distinct::<V>())
    }
    /// The value below which this fraction of the values lies, interpolated; nulls are skipped, over nothing it is null.
    pub fn quantile<V: Between<Q>, Q>(column: Col<V>, fraction: f64) -> Agg<Q> {
        Agg::at_fraction("quantile", column, fraction, functions::quantile::<V>(fraction))
    }
    /// The quantile at one half; nulls are skipped, over nothing it is null.
    pub fn median<V: Between<Q>, Q>(column: Col<V>) -> Agg<Q> {
        Agg::new(vec![column.name()], functions::median::<V>())
    }
    /// The quantile, about: exact for fewer than 512 values, beyond within 1 % of the ranks. Nulls and NaN are skipped,
    /// over nothing it is null.
    pub fn approx_quantile<V: Digested>(column: Col<V>, fraction: f64) -> Agg<Option<f64>> {
        Agg::at_fraction("approx_quantile", column, fraction, functions::approx_quantile::<V>(fraction))
    }
    /// Whether a condition holds in some row; nulls are skipped. Of a stream without key, use [`any_of_all`]
    /// (`pipeline!` does).
    pub fn any<V: Truth>(condition: Col<V>) -> Agg<V> {
        Agg::new(vec![condition.name()], functions::any::<V>())
    }
    /// Whether a condition holds in every row; as [`any`].
    pub fn all<V: Truth>(condition: Col<V>) -> Agg<V> {
        Agg::new(vec![condition.name()], functions::all::<V>())
    }
    /// [`any`] without a key: there may be no row at all, and then it is null.
    pub fn any_of_all<V: Truth>(condition: Col<V>) -> Agg<Option<bool>> {
        Agg::new(vec![condition.name()], functions::any::<Option<bool>>())
    }
    /// [`all`] without a key: there may be no row at all, and then it is null.
    pub fn all_of_all<V: Truth>(condition: Col<V>) -> Agg<Option<bool>> {
        Agg::new(vec![condition.name()], functions::all::<Option<bool>>())
    }
}

/// A user aggregate over columns, given as a cons list.
pub fn user<A: Aggregate, I: InputNames>(inputs: I) -> Agg<A::Out> {
    let mut names = Vec::new();
    inputs.names(&mut names);
    Agg::new(names, crate::operator::aggregate::user::<A>())
}
/// A cons list of columns.
pub trait InputNames {
    /// Appends their names.
    fn names(&self, out: &mut Vec<&'static str>);
}
impl InputNames for () {
    fn names(&self, _: &mut Vec<&'static str>) {}
}
impl<V, Rest: InputNames> InputNames for (Col<V>, Rest) {
    fn names(&self, out: &mut Vec<&'static str>) {
        out.push(self.0.name());
        self.1.names(out);
    }
}

impl<'g, R: Record, K, B: Bound, T, C: Change> Stream<'g, R, K, B, T, C> {
    /// Groups by the key (and window) and aggregates: `aggregate(|t| row { total: sum(t.amount), rows: count() })`.
    pub fn aggregate<O: AggregateRow, Q, W, X: Change>(self, f: impl FnOnce(Q, &R::Cols) -> O) -> Stream<'g, O::Out, Unkeyed, B, W, X>
    where
        K: Emits<B, Q, W, X>,
    {
        let graph = self.graph();
        let Some(input) = graph.node(self.node()) else { return Stream::new(graph, self.node()) };
        let (windowed, changes) = (<K as Closes<B>>::WINDOWED, <K as Closes<B>>::Change::CHANGES);
        let (window, emit) = if windowed || changes { cut_of(graph, self.node()) } else { (None, Emit::default()) };
        let keys = if <K as Closes<B>>::KEYED { input.keys } else { Vec::new() };
        if <K as Closes<B>>::KEYED && keys.is_empty() {
            graph.problem(super::handle::replaced_key(&input.id));
        }
        let parts = f(K::cols(&mut std::iter::empty()), &R::cols()).parts();
        let (mut functions, mut factories) = (Vec::new(), Vec::new());
        for mut part in parts {
            if let Some(problem) = part.problem.take() {
                graph.problem(format!("`{}`: {problem}", part.name));
            }
            let name = part.name.to_owned();
            let (inputs, factory) = part.over(input.time.as_ref());
            let function = factory.describe().split('(').next().unwrap_or_default().to_owned();
            functions.push(AggregateColumn { name, function, inputs });
            factories.push(factory);
        }
        let time = window.map(|_| EventColumn { column: "window_end".into(), offset: -1 });
        let columns = plan_columns(&columns_of::<O::Out>());
        let node = graph.add(Op::Aggregate { window, functions, emit }, vec![self.node()], columns, keys, B::ENDS, time);
        graph.code(node, Code::Aggregate(factories));
        Stream::new(graph, node)
    }
}

/// The window that the nearest `window` step cut.
pub(super) fn window_of(graph: &super::Graph, at: crate::plan::NodeId) -> Option<Span> {
    cut_of(graph, at).0
}

/// What the nearest `window` step said: how time is cut, and when results are sent.
fn cut_of(graph: &super::Graph, mut at: crate::plan::NodeId) -> (Option<Span>, Emit) {
    let mut sent = None;
    while let Some(node) = graph.node(at) {
        match node.op {
            Op::Window(window) => return (Some(window), sent.unwrap_or_default()),
            Op::Emit { emit, global: true } => return (None, emit),
            Op::Emit { emit, .. } => sent = sent.or(Some(emit)),
            _ => {}
        }
        let Some(up) = node.inputs.first() else { break };
        at = *up;
    }
    (None, Emit::default())
}
