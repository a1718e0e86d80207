//! The aggregate step and its functions.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::operator::{AccumulatorFactory, Aggregate, Extreme, Mean, Summand};
use crate::plan::{AggregateColumn, EventColumn, Op};
use crate::record::{Col, Record, Value, columns_of};

use super::graph::{Code, plan_columns};
use super::{Append, Bound, Closes, Emits, Stream, Unkeyed};

/// An aggregate function over columns, with a result of type `V`.
pub struct Agg<V> {
    inputs: Vec<&'static str>,
    factory: Arc<dyn AccumulatorFactory>,
    kind: PhantomData<fn() -> V>,
}
impl<V> std::fmt::Debug for Agg<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.factory.describe(), self.inputs.join(", "))
    }
}
impl<V> Agg<V> {
    fn new(inputs: Vec<&'static str>, factory: Arc<dyn AccumulatorFactory>) -> Self {
        Agg { inputs, factory, kind: PhantomData }
    }
    /// The function as a column of this name.
    pub fn part(self, name: &'static str) -> AggregatePart {
        AggregatePart { name, inputs: self.inputs, factory: self.factory }
    }
}

/// One output column of an aggregate step.
pub struct AggregatePart {
    name: &'static str,
    inputs: Vec<&'static str>,
    factory: Arc<dyn AccumulatorFactory>,
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

/// The built-in aggregate functions, as `pipeline!` names them.
pub mod agg {
    use super::{Addable, Agg, Col, Extreme, Mean, Value};
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

impl<'g, R: Record, K, B: Bound, T> Stream<'g, R, K, B, T, Append> {
    /// Groups by the key (and window) and aggregates: `aggregate(|t| row { total: sum(t.amount), rows: count() })`.
    pub fn aggregate<O: AggregateRow, Q, W>(self, f: impl FnOnce(Q, &R::Cols) -> O) -> Stream<'g, O::Out, Unkeyed, B, W, Append>
    where
        K: Emits<B, Q, W>,
    {
        let graph = self.graph();
        let Some(input) = graph.node(self.node()) else { return Stream::new(graph, self.node()) };
        let window = if <K as Closes<B>>::WINDOWED { window_of(graph, self.node()) } else { None };
        let keys = if <K as Closes<B>>::KEYED { input.keys } else { Vec::new() };
        if <K as Closes<B>>::KEYED && keys.is_empty() {
            graph.problem(super::handle::replaced_key(&input.id));
        }
        let parts = f(K::cols(&mut std::iter::empty()), &R::cols()).parts();
        let functions = parts
            .iter()
            .map(|p| AggregateColumn {
                name: p.name.to_owned(),
                function: p.factory.describe().split('(').next().unwrap_or_default().to_owned(),
                inputs: p.inputs.iter().map(|i| (*i).to_owned()).collect(),
            })
            .collect();
        let time = window.map(|_| EventColumn { column: "window_end".into(), offset: -1 });
        let columns = plan_columns(&columns_of::<O::Out>());
        let node = graph.add(Op::Aggregate { window, functions }, vec![self.node()], columns, keys, B::ENDS, time);
        graph.code(node, Code::Aggregate(parts.into_iter().map(|p| p.factory).collect()));
        Stream::new(graph, node)
    }
}

/// The window that the nearest `window` step cut.
fn window_of(graph: &super::Graph, mut at: crate::plan::NodeId) -> Option<i64> {
    loop {
        let node = graph.node(at)?;
        match node.op {
            Op::Window { size } => return Some(size),
            _ => at = *node.inputs.first()?,
        }
    }
}
