//! The step that waits.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::kernel::{Added, ErrorPolicy};
use crate::operator::{Async, AsyncOptions, AsyncSpec, Awaited};
use crate::plan::Op;
use crate::record::{Never, Record, Value, View, columns_of};

use super::errors::Letters;
use super::graph::{Code, Site, plan_columns};
use super::{Bound, Erring, Handled, Layer, OnError, Stays, Stream};

/// The columns of one row that are computed before the last awaited one cannot fail.
#[diagnostic::on_unimplemented(
    message = "only the last awaited column of a row may fail: write the columns in a `with` of their own each",
    label = "errors of the columns before this one are not dealt with",
    note = "each awaited column is a step of its own, and `on_error(..)` or `dead_letter()` stands right behind the one that may fail: `with(|t| row {{ a: .. }}) -> on_error(skip) -> with(|t| row {{ b: f(t.a).await }}) -> on_error(skip)`"
)]
pub trait Certain {}
impl Certain for Never {}

/// A stream with a call of an async function at its end; what becomes of rows on which it fails is still to be said.
///
/// Errors are what the function returns, and calls that time out, once all repetitions have failed. A panic always ends the job.
///
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone)]
/// struct Visit { ip: Str }
/// #[derive(Record, Debug, PartialEq)]
/// struct Place { ip: Str, place: Str }
/// #[derive(Record, Debug, PartialEq)]
/// struct Lost { ip: Str, error: Str, row: u64 }
///
/// #[operator(timeout = "2s")]
/// async fn geo(ip: &str) -> Result<String, String> {
///     if ip.is_empty() { Err("no address".into()) } else { Ok(format!("near {ip}")) }
/// }
///
/// pipeline! {
///     /// Where visits come from, and those of which nobody knows.
///     pub fn places(visits: Source<Visit>);
///     (found, failed) = visits -> with(|v| row { place: geo(v.ip).await }) -> dead_letter();
///     places = found -> select(|v| row Place { ip: v.ip, place: v.place });
///     places -> sink;
///     lost = failed -> select(|v| row Lost { ip: v.ip, error: v.error, row: v.row });
///     lost -> sink;
/// }
/// # fn main() -> Result<()> {
/// let visits = vec![Visit { ip: "192.0.2.1".into() }, Visit { ip: "".into() }];
/// let ran = sabot::testing::Trial::new().run(places(visits))?;
/// assert_eq!(ran.rows::<Place>("places")?, [Place { ip: "192.0.2.1".into(), place: "near 192.0.2.1".into() }]);
/// assert_eq!(ran.rows::<Lost>("lost")?, [Lost { ip: "".into(), error: "no address".into(), row: 1 }]);
/// # Ok(()) }
/// ```
pub struct Waits<'g, R, X, F, K, B, T, C> {
    stream: Stream<'g, R, K, B, T, C>,
    operator: String,
    column: &'static str,
    options: AsyncOptions,
    /// The stream that it belongs to, and what its arguments read.
    name: String,
    reads: Option<Vec<String>>,
    f: F,
    kind: PhantomData<fn() -> X>,
}

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// Adds a column that an async function computes; `f` makes the call for a row, or gives a value without one.
    ///
    /// In `pipeline!`: `with(|t| row { place: geo(t.ip).await })`, `map(geo.await)`. Up to
    /// [`max_in_flight`](AsyncOptions::max_in_flight) calls are out at once, over the whole job; the input waits meanwhile.
    /// The step works at every instance, on the rows that are there.
    /// Each row is emitted once. A job that is restored from a checkpoint makes the calls that were out then again.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone)]
    /// struct Visit { ip: Str }
    /// #[derive(Record, Debug, PartialEq)]
    /// struct Place { ip: Str, place: Str }
    ///
    /// #[operator(max_in_flight = 8)]
    /// async fn geo(ip: &str) -> String { format!("near {ip}") }
    ///
    /// pipeline! {
    ///     /// Where visits come from.
    ///     pub fn places(visits: Source<Visit>);
    ///     places = visits -> with(|v| row { place: geo(v.ip).await }) -> select(|v| row Place { ip: v.ip, place: v.place });
    ///     places -> sink;
    /// }
    /// # fn main() -> Result<()> {
    /// let rows: Vec<Place> = places(vec![Visit { ip: "192.0.2.1".into() }]).collect()?;
    /// assert_eq!(rows, [Place { ip: "192.0.2.1".into(), place: "near 192.0.2.1".into() }]);
    /// # Ok(()) }
    /// ```
    pub fn with_async<X, V, F>(self, operator: &str, column: &'static str, options: AsyncOptions, f: F) -> Waits<'g, R, X, F, K, B, T, C>
    where
        C: Stays,
        X: Layer<V = V>,
        V: Value,
        F: Fn(&View<'_, R>) -> Awaited<V> + Clone + Send + Sync + 'static,
    {
        let (name, reads) = (self.graph().current(), self.graph().take_reads());
        Waits { stream: self, operator: operator.to_owned(), column, options, name, reads, f, kind: PhantomData }
    }
}

impl<'g, R, X, F, K, B, T, C> Waits<'g, R, X, F, K, B, T, C>
where
    R: Record,
    X: Layer,
    F: Fn(&View<'_, R>) -> Awaited<X::V> + Clone + Send + Sync + 'static,
    B: Bound,
{
    /// The stream, if the call cannot fail; else see [`on_error`](Self::on_error) and [`dead_letter`](Self::dead_letter).
    pub fn stream(self) -> Stream<'g, <X::Good as Added>::On<R>, K, B, T, C>
    where
        X::Fails: Handled,
    {
        self.close::<X::Good>(ErrorPolicy::Fail)
    }
    /// Says what becomes of rows for which the call fails: [`Fail`](super::Fail), [`Null`](super::Null) or [`Skip`](super::Skip).
    pub fn on_error<P: OnError>(self, _policy: P) -> Stream<'g, <P::Columns<X> as Added>::On<R>, K, B, T, C>
    where
        X::Fails: Erring,
    {
        self.close::<P::Columns<X>>(P::POLICY)
    }
    /// The rows with a value, and those for which the call failed, as they came.
    #[allow(clippy::type_complexity)]
    pub fn dead_letter(self) -> (Stream<'g, <X::Good as Added>::On<R>, K, B, T, C>, Letters<'g, R, B, C>)
    where
        X::Fails: Erring,
    {
        let good = self.close::<X::Good>(ErrorPolicy::DeadLetter);
        (good, good.letters::<R>())
    }
    fn close<Y: Added>(self, errors: ErrorPolicy) -> Stream<'g, Y::On<R>, K, B, T, C> {
        let Waits { stream, operator, column, options, name, reads, f, .. } = self;
        let graph = stream.graph();
        let survives = |name: &String| name != column;
        let keys = Some(stream.keys()).filter(|k| k.iter().all(survives)).unwrap_or_default();
        let time = stream.time().filter(|t| survives(&t.column));
        let op = Op::Async { operator: operator.clone(), column: column.to_owned(), reads, options, errors };
        // errors may be dealt with in a later statement
        let later = graph.current();
        graph.stream(&name);
        let next = stream.push(op, plan_columns(&columns_of::<Y::On<R>>()), keys, time);
        graph.stream(&later);
        let make = move |site: &Site<'_>| {
            let spec = AsyncSpec {
                name: site.name.to_owned(),
                operator: operator.clone(),
                column: column.to_owned(),
                options,
                errors,
                source: site.source.to_owned(),
                letters: site.letters.to_vec(),
                dealt: site.dealt,
                bounded: site.bounded,
            };
            Ok(Async::<R, X::V, F>::factory(spec, f.clone()))
        };
        graph.code(next.node(), Code::Operator(Arc::new(make)));
        next
    }
}

/// Ends a step that waits, which cannot fail; used by generated code.
#[doc(hidden)]
pub fn waited<'g, R, X, F, K, B, T, C>(call: Waits<'g, R, X, F, K, B, T, C>) -> Stream<'g, <X::Good as Added>::On<R>, K, B, T, C>
where
    R: Record,
    X: Layer,
    X::Fails: Handled,
    F: Fn(&View<'_, R>) -> Awaited<X::V> + Clone + Send + Sync + 'static,
    B: Bound,
{
    call.stream()
}

/// The same where another column of the same row follows.
#[doc(hidden)]
pub fn waited_certain<'g, R, X, F, K, B, T, C>(call: Waits<'g, R, X, F, K, B, T, C>) -> Stream<'g, <X::Good as Added>::On<R>, K, B, T, C>
where
    R: Record,
    X: Layer,
    X::Fails: Certain,
    F: Fn(&View<'_, R>) -> Awaited<X::V> + Clone + Send + Sync + 'static,
    B: Bound,
{
    call.close::<X::Good>(ErrorPolicy::Fail)
}
