//! Row-wise steps on their way into one kernel.
//!
//! `stream.filter(..)` gives a [`Pipe`]: the stream that the step will leave, and beside it the step as a typed value.
//! Further row-wise steps compose with it by type; any other step seals the run: boxes it and adds one node.

use std::sync::Arc;

use crate::kernel::{
    Added, Adds, Doubt, ErrorPolicy, Filter, Lineage, Made, Makes, Run, RunKernel, Select, Step, StepInfo, StepKind, StepMeta, StepShape,
    Then, Verdict, With,
};
use crate::plan::Op;
use crate::record::{Make, Record, View, columns_of};

use super::graph::{Code, plan_columns};
use super::{Graph, Handled, Stream};

/// A run that is still growing: its steps by type, and what is known of each.
pub struct Part<S: Step> {
    step: S,
    shapes: Vec<StepShape>,
}

impl<S: Step> Part<S> {
    pub(super) fn one(step: S, kind: StepKind, meta: Option<&StepMeta>) -> Self {
        let columns: Vec<String> = columns_of::<S::Out>().iter().map(|c| c.name.to_string()).collect();
        let mut types = Vec::new();
        <S::Made as crate::kernel::Computed>::types(&mut types);
        let info = StepInfo::new(kind, meta, &columns);
        let made: Vec<String> = match kind {
            StepKind::Filter => Vec::new(),
            // a named record computes all of its columns, in its own order
            StepKind::Select if S::BITS == 0 && types.len() == columns.len() => columns.clone(),
            _ if meta.is_some() => info.exprs.iter().filter(|e| e.pass.is_none()).map(|e| e.name.clone()).collect(),
            _ => columns.iter().rev().take(types.len()).rev().cloned().collect(),
        };
        Part { step, shapes: vec![StepShape { info, made, bits: S::BITS, columns }] }
    }
    /// The step and what is known of it.
    pub(super) fn split(self) -> (S, Vec<StepShape>) {
        (self.step, self.shapes)
    }
    /// This run, then that one.
    pub fn then<T: Step<In = S::Out>>(self, next: Part<T>) -> Part<Then<S, T>> {
        let mut shapes = self.shapes;
        shapes.extend(next.shapes);
        Part { step: Then(self.step, next.step), shapes }
    }
}

/// A stream with an unfinished run at its end. Methods of [`Stream`] that are not row-wise finish it.
/// ```
/// use sabot::prelude::*;
/// use sabot::testing::Trial;
///
/// #[derive(Record, Clone)]
/// struct Trade { symbol: Str, side: Str, price: Option<f64>, qty: i64 }
/// #[derive(Record, Debug, PartialEq)]
/// struct Signed { symbol: Str, value: Option<f64> }
/// #[derive(Record, Debug, PartialEq)]
/// struct Lost { symbol: Str, error: Str, row: u64 }
///
/// /// 1 for a buy, -1 for a sale.
/// #[operator]
/// fn side(text: &str) -> Result<i64, String> {
///     match text { "B" => Ok(1), "S" => Ok(-1), _ => Err(format!("no side `{text}`")) }
/// }
/// /// Whether a symbol is listed.
/// #[operator]
/// fn listed(symbol: &str) -> Result<bool, String> {
///     if symbol.is_empty() { Err("no symbol".into()) } else { Ok(symbol != "X") }
/// }
/// /// Twice as much.
/// #[operator(total)]
/// fn twice(qty: i64) -> i64 { qty.wrapping_mul(2) }
///
/// pipeline! {
///     /// Row-wise steps, as one kernel.
///     pub fn signed(trades: Source<Trade>);
///
///     (good, bad) = trades -> filter(|t| t.qty > 0)
///                          -> inspect(|t| assert!(t.qty > 0))
///                          -> filter(|t| listed(t.symbol))
///                          -> with(|t| row { sign: side(t.side) })
///                          -> map(twice)
///                          -> dead_letter();
///     signed = good -> select(|t| row Signed { symbol: t.symbol, value: t.price? * (t.sign * t.twice) as f64 });
///     lost   = bad -> select(|b| row Lost { symbol: b.symbol, error: b.error, row: b.row });
///     quiet  = trades -> with(|t| row { sign: side(t.side) }) -> on_error(null)
///                     -> filter(|t| t.sign? < 0) -> select(|t| row Signed { symbol: t.symbol, value: t.price });
///     signed -> sink;
///     lost -> sink;
///     quiet -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let trade = |symbol: &str, side: &str, price| Trade { symbol: symbol.into(), side: side.into(), price, qty: 5 };
/// let trades = vec![trade("A", "S", Some(2.0)), trade("", "B", None), trade("A", "?", None), trade("B", "B", None)];
/// let ran = Trial::new().run(signed(trades))?;
/// let sum = |symbol: &str, value| Signed { symbol: symbol.into(), value };
/// assert_eq!(ran.rows::<Signed>("signed")?, [sum("A", Some(-20.0)), sum("B", None)]);
/// let lost = |symbol: &str, error: &str, row| Lost { symbol: symbol.into(), error: error.into(), row };
/// assert_eq!(ran.rows::<Lost>("lost")?, [lost("", "no symbol", 1), lost("A", "no side `?`", 2)]);
/// assert_eq!(ran.rows::<Signed>("quiet")?, [sum("A", Some(2.0))]);
/// # Ok(()) }
/// ```
pub struct Pipe<'g, S: Step, K, B, T, C> {
    stream: Stream<'g, S::Out, K, B, T, C>,
    part: Part<S>,
}

/// A record's row as what a `select` closure returns: `select(|t, _| named::<Alert>(AlertRow { .. }))`.
pub fn named<R: crate::record::Named>(row: R::Row<'_>) -> Made<'_, crate::kernel::All<R>> {
    Made::new(row, false)
}

/// As [`named`], with the types of the expressions and whether computing one failed; used by generated code.
#[doc(hidden)]
#[inline(always)]
pub fn all_of<R: crate::record::Named, F: crate::record::Kinds>(
    row: R::Row<'_>,
    bad: bool,
    _kinds: F,
) -> Made<'_, crate::kernel::All<R, F>> {
    Made::new(row, bad)
}

/// A predicate that only looks.
#[doc(hidden)]
pub trait Looks<R: Record>: for<'a> Fn(&View<'a, R>) -> bool + Send + Sync + 'static {}
impl<R: Record, F: for<'a> Fn(&View<'a, R>) -> bool + Send + Sync + 'static> Looks<R> for F {}

impl<'g, R: Record, K, B, T, C> Stream<'g, R, K, B, T, C> {
    /// Keeps the rows for which `f` is true. It may return a `Result<bool, _>`: then
    /// [`on_error`](Pipe::on_error) or [`dead_letter`](Pipe::dead_letter) says what becomes of rows on which that is an error.
    pub fn filter<F, Q: Verdict>(self, f: F) -> Pipe<'g, Filter<R, F, Q>, K, B, T, C>
    where
        F: for<'a> Fn(&View<'a, R>) -> Q + Send + Sync + 'static,
    {
        self.pipe(Filter::new(f), StepKind::Filter)
    }
    /// Adds columns. In `pipeline!`: `with(|t| row { notional: t.price * t.qty })`; a repeated name shadows.
    pub fn with<X: Added, F>(self, f: F) -> Pipe<'g, With<R, X, F>, K, B, T, C>
    where
        F: for<'a> Fn(&View<'a, R>, Make<'a>) -> Adds<'a, X> + Send + Sync + 'static,
    {
        self.pipe(With::new(f), StepKind::With)
    }
    /// Replaces the columns. In `pipeline!`: `select(|t| row { .. })`, or `select(|t| row Alert { .. })` for a named
    /// record; without the macro, [`named`](super::named) wraps a record's row.
    pub fn select<X: Makes, F>(self, f: F) -> Pipe<'g, Select<R, X, F>, super::Unkeyed, B, <X::Out as Record>::Time, C>
    where
        F: for<'a> Fn(&View<'a, R>, Make<'a>) -> Made<'a, X> + Send + Sync + 'static,
    {
        self.pipe(Select::new(f), StepKind::Select)
    }
    /// Calls `f` on every row, for its effect: `inspect(|t| println!("{}", t.price))`.
    pub fn inspect<F>(self, f: F) -> Pipe<'g, Filter<R, impl Looks<R> + use<R, K, B, T, C, F>>, K, B, T, C>
    where
        F: for<'a> Fn(&View<'a, R>) + Send + Sync + 'static,
    {
        self.filter(move |row| {
            f(row);
            true
        })
    }
    fn pipe<S: Step<In = R>, K2, B2, T2, C2>(self, step: S, kind: StepKind) -> Pipe<'g, S, K2, B2, T2, C2> {
        Pipe { stream: Stream::new(self.graph(), self.node()), part: Part::one(step, kind, None) }
    }
    /// Finishes a run that cannot fail: one node, one kernel.
    #[doc(hidden)]
    pub fn seal<S: Step<Out = R>>(self, part: Part<S>) -> Stream<'g, S::Good<S::In>, K, B, T, C>
    where
        S::Fails: Handled,
    {
        self.close(part, ErrorPolicy::Fail)
    }
    /// The same where an awaited column of the same row follows.
    #[cfg(feature = "async")]
    #[doc(hidden)]
    pub fn seal_certain<S: Step<Out = R>>(self, part: Part<S>) -> Stream<'g, S::Good<S::In>, K, B, T, C>
    where
        S::Fails: super::Certain,
    {
        self.close(part, ErrorPolicy::Fail)
    }
    /// Finishes a run. `Out` is the record behind it, once errors are dealt with in this way.
    pub(super) fn close<S: Step<Out = R>, Out: Record>(self, part: Part<S>, errors: ErrorPolicy) -> Stream<'g, Out, K, B, T, C> {
        let graph: &'g Graph = self.graph();
        let Some(input) = graph.node(self.node()) else { return Stream::new(graph, self.node()) };
        let mut inputs = Vec::new();
        S::In::columns(&mut inputs);
        let lineage = Lineage::new(inputs, &part.shapes);
        let steps: Vec<StepInfo> = part.shapes.into_iter().map(|s| s.info).collect();
        let columns = plan_columns(&columns_of::<Out>());
        let survives = |name: &String| {
            lineage.outputs.iter().any(|(n, f)| {
                n == name && matches!(f, crate::kernel::ColumnFrom::Input(i) if lineage.inputs.get(*i).is_some_and(|c| c.name == *name))
            })
        };
        let replaced = steps.iter().any(|s| s.kind == StepKind::Select);
        let keys = if !replaced && input.keys.iter().all(survives) { input.keys.clone() } else { Vec::new() };
        let marked = columns_of::<Out>().into_iter().find(|c| c.event_time && replaced);
        let marked = marked.map(|c| crate::plan::EventColumn { column: c.name.to_string(), offset: 0 });
        let time = marked.or_else(|| input.time.clone().filter(|t| survives(&t.column)));
        let volatile = steps.iter().flat_map(|s| &s.exprs).flat_map(|e| &e.doubts).find_map(|d| match d {
            Doubt::Volatile(call) => Some(call),
            _ => None,
        });
        if let Some(call) = volatile.filter(|_| input.changes) {
            graph.problem(format!(
                "`{}`: the volatile function `{call}` gives another value for the row that takes back an old result; call it before the step that makes the changes, or behind `changelog()`",
                graph.current()
            ));
        }
        let run = Run::new::<Out>(part.step, steps.clone(), lineage);
        let op = Op::Run { steps, form: run.form(), outputs: None, mask: !0, errors };
        let node = graph.add(op, vec![self.node()], columns, keys, input.bounded, time);
        graph.code(node, Code::Run(Arc::new(run)));
        Stream::new(graph, node)
    }
}

impl<'g, S: Step, K, B, T, C> Pipe<'g, S, K, B, T, C> {
    /// Takes a single step apart: the stream it leaves, and the step with what the macro saw of it.
    #[doc(hidden)]
    pub fn part(self, meta: &StepMeta) -> (Stream<'g, S::Out, K, B, T, C>, Part<S>) {
        let kind = self.part.shapes.first().map_or(StepKind::Filter, |s| s.info.kind);
        let mut part = Part::one(self.part.step, kind, Some(meta));
        let graph = self.stream.graph();
        for e in part.shapes.iter_mut().flat_map(|s| &mut s.info.exprs) {
            // parameters are known now, and only now: the same names mean other values in another pipeline of the job
            let value = |name: &str| graph.constant_of(name);
            e.simple = e.simple.as_ref().map(|p| p.resolve(&|column| Some(column.to_owned()), &value));
        }
        (self.stream, part)
    }
    /// The two as they are.
    pub(super) fn split(self) -> (Stream<'g, S::Out, K, B, T, C>, Part<S>) {
        (self.stream, self.part)
    }
    /// Finishes the run, which cannot fail; else see [`on_error`](Self::on_error) and [`dead_letter`](Self::dead_letter).
    pub fn stream(self) -> Stream<'g, S::Good<S::In>, K, B, T, C>
    where
        S::Fails: Handled,
    {
        self.stream.seal(self.part)
    }
    /// Keeps the rows for which `f` is true, or `Ok(true)`.
    pub fn filter<F, Q: Verdict>(self, f: F) -> Pipe<'g, Then<S, Filter<S::Out, F, Q>>, K, B, T, C>
    where
        F: for<'a> Fn(&View<'a, S::Out>) -> Q + Send + Sync + 'static,
    {
        let next = self.stream.filter(f);
        Pipe { stream: next.stream, part: self.part.then(next.part) }
    }
    /// Calls `f` on every row, for its effect.
    pub fn inspect<F>(self, f: F) -> Pipe<'g, Then<S, Filter<S::Out, impl Looks<S::Out> + use<S, K, B, T, C, F>>>, K, B, T, C>
    where
        F: for<'a> Fn(&View<'a, S::Out>) + Send + Sync + 'static,
    {
        self.filter(move |row| {
            f(row);
            true
        })
    }
    /// Adds columns.
    pub fn with<X: Added, F>(self, f: F) -> Pipe<'g, Then<S, With<S::Out, X, F>>, K, B, T, C>
    where
        F: for<'a> Fn(&View<'a, S::Out>, Make<'a>) -> Adds<'a, X> + Send + Sync + 'static,
    {
        let next = self.stream.with(f);
        Pipe { stream: next.stream, part: self.part.then(next.part) }
    }
    /// Replaces the columns.
    #[allow(clippy::type_complexity)]
    pub fn select<X: Makes, F>(self, f: F) -> Pipe<'g, Then<S, Select<S::Out, X, F>>, super::Unkeyed, B, <X::Out as Record>::Time, C>
    where
        F: for<'a> Fn(&View<'a, S::Out>, Make<'a>) -> Made<'a, X> + Send + Sync + 'static,
    {
        let next = self.stream.select(f);
        Pipe { stream: next.stream, part: self.part.then(next.part) }
    }
}
