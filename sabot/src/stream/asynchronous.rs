//! The step that waits.

use std::sync::Arc;

use crate::operator::{Async, AsyncOptions, AsyncSpec, Awaited};
use crate::plan::Op;
use crate::record::{Record, Value, View, columns_of};

use super::graph::{Code, Site, plan_columns};
use super::{Bound, Layer, Stream};

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// Adds a column that an async function computes; `f` makes the call for a row, or gives a value without one.
    ///
    /// In `pipeline!`: `with(|t| row { place: geo(t.ip).await })`, `map(geo.await)`. Up to
    /// [`max_in_flight`](AsyncOptions::max_in_flight) calls are out at once, over the whole job; the input waits meanwhile.
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
    /// #[operator(max_in_flight = 8, timeout = "2s")]
    /// async fn geo(ip: &str) -> Result<String, std::fmt::Error> { Ok(format!("near {ip}")) }
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
    pub fn with_async<X, V, F>(self, operator: &str, column: &'static str, options: AsyncOptions, f: F) -> Stream<'g, X::On<R>, K, B, T, C>
    where
        X: Layer<V = V>,
        V: Value,
        F: Fn(&View<'_, R>) -> Awaited<V> + Clone + Send + Sync + 'static,
    {
        let graph = self.graph();
        let survives = |name: &String| name != column;
        let keys = Some(self.keys()).filter(|k| k.iter().all(survives)).unwrap_or_default();
        let time = self.time().filter(|t| survives(&t.column));
        let op = Op::Async { operator: operator.to_owned(), column: column.to_owned(), reads: graph.take_reads(), options };
        let next = self.push(op, plan_columns(&columns_of::<X::On<R>>()), keys, time);
        let operator = operator.to_owned();
        let make = move |site: &Site<'_>| {
            let spec = AsyncSpec { name: site.name.to_owned(), operator: operator.clone(), column: column.to_owned(), options };
            Ok(Async::<R, V, F>::factory(spec, f.clone()))
        };
        graph.code(next.node(), Code::Operator(Arc::new(make)));
        next
    }
}
