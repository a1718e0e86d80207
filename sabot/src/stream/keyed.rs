//! The step with state per key: `keyed(..)`.

use std::sync::Arc;

use crate::operator::{KeyCtx, Keyed as KeyedOperator, KeyedRows, KeyedSpec, Machine, NoSide, NoTimers, SideOutput, TIME, Ttl};
use crate::plan::{EventColumn, Op};
use crate::record::{Col, Duration, HasTime, Make, Micros, NoTime, Record, Slot, State, Value, View, columns_of};

use super::graph::{Code, Site, plan_columns};
use super::handle::replaced_key;
use super::stamped::Stamps;
use super::{Bound, IsKeyed, KeyTypes, Layer, Stays, Stream, Unkeyed};

/// How a `keyed` step keeps state: what it takes behind its closure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyedOptions {
    ttl: Option<Duration<Micros>>,
    clock_ttl: Option<Duration<Micros>>,
}

impl KeyedOptions {
    /// A key's state goes when no row and no timer has touched it for so long, in event time where the stream has it, else by the
    /// clock. A key that waits for a timer keeps its state.
    pub fn ttl(self, span: Duration<Micros>) -> Self {
        KeyedOptions { ttl: Some(span), ..self }
    }
    /// The same by the clock, whether or not there is event time: results then depend on how fast rows come.
    pub fn clock_ttl(self, span: Duration<Micros>) -> Self {
        KeyedOptions { clock_ttl: Some(span), ..self }
    }
    fn resolve(self, timed: bool) -> Option<Ttl> {
        let of = |span: Duration<Micros>, clock| Ttl { micros: span.value(), clock };
        self.clock_ttl.map(|span| of(span, true)).or(self.ttl.map(|span| of(span, !timed)))
    }
    fn problem(self) -> Option<String> {
        if self.ttl.is_some() && self.clock_ttl.is_some() {
            return Some("state expires in event time or by the clock: write `ttl` or `clock_ttl`, not both".into());
        }
        let span = self.ttl.or(self.clock_ttl).filter(|span| span.value() <= 0)?;
        Some(format!("state needs some time to live, not {span}"))
    }
}

/// The stream has the event time that the operator's timers need.
#[diagnostic::on_unimplemented(
    message = "this operator has timers of event time, but the stream has none",
    label = "no event time",
    note = "mark the timestamp with `#[event_time]` in the record, or add an `event_time(column)` step after the source; `clock_timer` goes by the clock"
)]
pub trait TimeForTimers<Timers> {}
impl<Timers> TimeForTimers<Timers> for HasTime {}
impl TimeForTimers<NoTimers> for NoTime {}

/// The operator has no second output that nobody reads.
#[diagnostic::on_unimplemented(
    message = "nobody reads the second output of this operator, its `{Self}` rows",
    label = "its second output is lost",
    note = "make it a stream: `(main, side) = .. -> keyed(..);`"
)]
pub trait NoSideOutput {}
impl NoSideOutput for NoSide {}

/// The operator has a second output.
#[diagnostic::on_unimplemented(
    message = "this operator has no second output",
    label = "there is only one stream",
    note = "an operator that takes `ctx: &mut KeyCtx<Alert>` emits `Alert` rows by `ctx.side(..)`; without one write `main = .. -> keyed(..);`"
)]
pub trait HasSideOutput: SideOutput {}
#[diagnostic::do_not_recommend]
impl<V: Value> HasSideOutput for V {}

/// [`IsKeyed`] with the key's columns as a parameter, so that a stream that is not keyed is one error.
#[diagnostic::on_unimplemented(
    message = "this step keeps state per key, but the stream is not keyed",
    label = "needs a keyed stream",
    note = "add a `key_by(..)` step before it"
)]
pub trait KeyedBy<Q>: IsKeyed<Key: KeyTypes<Cols = Q>> {}
#[diagnostic::do_not_recommend]
impl<K: IsKeyed<Key: KeyTypes<Cols = Q>>, Q> KeyedBy<Q> for K {}

/// The row that a keyed operator makes of its own: key columns, then the value.
pub trait OwnRow {
    /// The record.
    type Out: Record;
}

/// Rows of a keyed operator's own.
type Own<'g, O, B, T, C> = Stream<'g, <T as Stamps>::On<<O as OwnRow>::Out>, Unkeyed, B, T, C>;

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// Calls `f` with state `S` that is kept per key; rows for which it returns a value go on, with the value as a column.
    ///
    /// In `pipeline!`: `keyed(|t| bursts(t.ts))` makes the column `value`, `keyed(|t| row { ema: ema(t.price) })` names it;
    /// `keyed(|t| bursts(t.ts), ttl = 1.hour())` lets the state of a key go that nothing touched for an hour.
    pub fn keyed<X, S, D, V, F>(
        self,
        operator: &str,
        column: &'static str,
        options: KeyedOptions,
        f: F,
    ) -> Stream<'g, X::On<R>, Unkeyed, B, T, C>
    where
        X: Layer<V = V>,
        S: State,
        D: SideOutput + NoSideOutput,
        V: Value,
        K: IsKeyed,
        C: Stays,
        F: for<'a> Fn(&mut S, &mut KeyCtx<D>, &View<'a, R>, Make<'a>) -> Option<Slot<'a, V>> + Clone + Send + Sync + 'static,
    {
        self.function::<X, S, D, V, F>(operator, column, options, f)
    }
    /// As [`keyed`](Self::keyed), with the operator's second output: `(ema, jumps) = trades -> key_by(symbol) -> keyed(|t| ema(t.price));`.
    pub fn keyed_and_side<X, S, D, V, O, Q, F>(
        self,
        operator: &str,
        column: &'static str,
        options: KeyedOptions,
        side: impl FnOnce(Q, Col<D::V>) -> O,
        f: F,
    ) -> (Stream<'g, X::On<R>, Unkeyed, B, T, C>, Own<'g, O, B, T, C>)
    where
        X: Layer<V = V>,
        S: State,
        D: HasSideOutput,
        V: Value,
        K: KeyedBy<Q>,
        C: Stays,
        T: Stamps,
        O: OwnRow,
        F: for<'a> Fn(&mut S, &mut KeyCtx<D>, &View<'a, R>, Make<'a>) -> Option<Slot<'a, V>> + Clone + Send + Sync + 'static,
    {
        let _ = side;
        let main = self.function::<X, S, D, V, F>(operator, column, options, f);
        (main, main.second::<O>())
    }
    /// Calls an operator that makes rows of its own, of rows and of timers: key columns, its value, and event time as `time` where
    /// the stream has it.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug)]
    /// struct Click { user: i64, page: Str, #[event_time] at: Timestamp<Micros> }
    ///
    /// /// The pages of a visit, which is over after half an hour without one.
    /// #[derive(State, Default)]
    /// struct Visit { pages: u64, over: Option<Timestamp<Micros>> }
    ///
    /// #[operator]
    /// impl Visit {
    ///     fn row(&mut self, ctx: &mut KeyCtx<Str>, page: &str) {
    ///         if page == "admin" {
    ///             ctx.side("looked at admin".into());
    ///         }
    ///         self.pages += 1;
    ///         if let Some(before) = self.over.replace(ctx.time() + 30.minute()) {
    ///             ctx.delete_timer(before);
    ///         }
    ///         ctx.set_timer(ctx.time() + 30.minute());
    ///     }
    ///     fn timer(&mut self, _ctx: &mut KeyCtx<Str>, _at: Timestamp<Micros>) -> Option<u64> {
    ///         Some(std::mem::take(self).pages)
    ///     }
    /// }
    ///
    /// pipeline! {
    ///     /// Visits, and what is odd about them.
    ///     pub fn visits(clicks: Source<Click>);
    ///     (visits, odd) = clicks -> key_by(user) -> keyed(|c| row { pages: Visit(c.page) }, ttl = 2.hour());
    ///     visits -> sink;
    ///     odd -> sink;
    /// }
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Visited { user: i64, pages: u64, time: Timestamp<Micros> }
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Odd { user: i64, value: Str, time: Timestamp<Micros> }
    ///
    /// # fn main() -> Result<()> {
    /// let minute = |m: i64| Timestamp::new(m * 60_000_000);
    /// let click = |m, page: &str| Click { user: 7, page: page.into(), at: minute(m) };
    /// let ran = sabot::testing::Trial::new().run(visits(vec![click(0, "home"), click(20, "admin"), click(80, "home")]))?;
    /// assert_eq!(ran.rows::<Visited>("visits")?, [
    ///     Visited { user: 7, pages: 2, time: minute(50) },
    ///     Visited { user: 7, pages: 1, time: minute(110) },
    /// ]);
    /// assert_eq!(ran.rows::<Odd>("odd")?, [Odd { user: 7, value: "looked at admin".into(), time: minute(20) }]);
    /// # Ok(()) }
    /// ```
    pub fn keyed_rows<M, O, Q, F>(
        self,
        operator: &str,
        column: &'static str,
        options: KeyedOptions,
        row: impl FnOnce(Q, Col<M::Out>) -> O,
        f: F,
    ) -> Own<'g, O, B, T, C>
    where
        M: KeyedRows<Side: NoSideOutput>,
        K: KeyedBy<Q>,
        C: Stays,
        T: Stamps + TimeForTimers<M::Timers>,
        O: OwnRow,
        F: for<'a> Fn(&mut M, &mut KeyCtx<M::Side>, &mut Vec<M::Out>, &View<'a, R>) -> bool + Clone + Send + Sync + 'static,
    {
        let _ = row;
        self.machine::<M, O, F>(operator, column, options, f)
    }
    /// As [`keyed_rows`](Self::keyed_rows), with the operator's second output.
    #[allow(clippy::too_many_arguments)]
    pub fn keyed_rows_and_side<M, O, P, Q, F>(
        self,
        operator: &str,
        column: &'static str,
        options: KeyedOptions,
        row: impl FnOnce(Q, Col<M::Out>) -> O,
        side: impl FnOnce(Q, Col<<M::Side as SideOutput>::V>) -> P,
        f: F,
    ) -> (Own<'g, O, B, T, C>, Own<'g, P, B, T, C>)
    where
        M: KeyedRows<Side: HasSideOutput>,
        K: KeyedBy<Q>,
        C: Stays,
        T: Stamps + TimeForTimers<M::Timers>,
        O: OwnRow,
        P: OwnRow,
        F: for<'a> Fn(&mut M, &mut KeyCtx<M::Side>, &mut Vec<M::Out>, &View<'a, R>) -> bool + Clone + Send + Sync + 'static,
    {
        let _ = (row, side);
        let main = self.machine::<M, O, F>(operator, column, options, f);
        (main, main.second::<P>())
    }

    fn function<X, S, D, V, F>(
        self,
        operator: &str,
        column: &'static str,
        options: KeyedOptions,
        f: F,
    ) -> Stream<'g, X::On<R>, Unkeyed, B, T, C>
    where
        X: Layer<V = V>,
        S: State,
        D: SideOutput,
        V: Value,
        F: for<'a> Fn(&mut S, &mut KeyCtx<D>, &View<'a, R>, Make<'a>) -> Option<Slot<'a, V>> + Clone + Send + Sync + 'static,
    {
        let (time, columns) = (self.time(), plan_columns(&columns_of::<X::On<R>>()));
        let ttl = self.ttl(options, time.is_some());
        let op = Op::Keyed {
            operator: operator.to_owned(),
            column: column.to_owned(),
            reads: self.graph().take_reads(),
            own: false,
            clock: ttl.is_some_and(|t| t.clock),
            ttl,
        };
        let next = self.push(op, columns, Vec::new(), time);
        let make = move |site: &Site<'_>| KeyedOperator::<R, S, D, V, F>::factory(spec(site, column, ttl), site.input, f.clone());
        next.graph().code(next.node(), Code::Operator(Arc::new(make)));
        next
    }
    fn machine<M, O, F>(self, operator: &str, column: &'static str, options: KeyedOptions, f: F) -> Own<'g, O, B, T, C>
    where
        M: KeyedRows,
        T: Stamps,
        O: OwnRow,
        F: for<'a> Fn(&mut M, &mut KeyCtx<M::Side>, &mut Vec<M::Out>, &View<'a, R>) -> bool + Clone + Send + Sync + 'static,
    {
        let columns = plan_columns(&columns_of::<T::On<O::Out>>());
        let ttl = self.ttl(options, T::TIMED);
        let op = Op::Keyed {
            operator: operator.to_owned(),
            column: column.to_owned(),
            reads: self.graph().take_reads(),
            own: true,
            clock: M::CLOCK_TIMER || ttl.is_some_and(|t| t.clock),
            ttl,
        };
        let next = self.push(op, columns, Vec::new(), stamp::<T>());
        let make = move |site: &Site<'_>| Machine::<R, M, F>::factory(spec(site, column, ttl), site.input, f.clone());
        next.graph().code(next.node(), Code::Operator(Arc::new(make)));
        next
    }
    /// The second output of the keyed step that this stream leaves.
    fn second<O: OwnRow>(self) -> Own<'g, O, B, T, C>
    where
        T: Stamps,
    {
        self.push(Op::Side, plan_columns(&columns_of::<T::On<O::Out>>()), Vec::new(), stamp::<T>())
    }
    /// How long state lives; notes what is wrong with it, or with the key.
    fn ttl(&self, options: KeyedOptions, timed: bool) -> Option<Ttl> {
        let graph = self.graph();
        if let Some(problem) = options.problem() {
            graph.problem(format!("`{}`: {problem}", graph.current()));
        }
        if self.keys().is_empty() {
            graph.problem(replaced_key(&graph.id(self.node())));
        }
        options.resolve(timed)
    }
}

fn stamp<T: Stamps>() -> Option<EventColumn> {
    T::TIMED.then(|| EventColumn { column: TIME.into(), offset: 0 })
}

fn spec(site: &Site<'_>, column: &str, ttl: Option<Ttl>) -> KeyedSpec {
    KeyedSpec {
        name: site.name.to_owned(),
        keys: site.keys.to_vec(),
        event_time: site.time.map(|t| t.column.clone()),
        offset: site.time.map_or(0, |t| t.offset),
        output: column.to_owned(),
        node: site.node,
        ttl,
    }
}
