//! Streams whose rows are taken back: what their types say, and `changelog`.

use crate::operator::Retracts;
use crate::plan::Op;
use crate::record::{Record, columns_of};

use super::graph::plan_columns;
use super::{Bound, Layer, Sink, Stream, Unkeyed};

/// Rows only come, and stay.
#[derive(Debug)]
pub enum Append {}
/// Rows come and are taken back: each carries a weight, 1 or -1, and counts as often as its weights add up to.
///
/// A result that changes is sent as two rows: the old one with -1, the new one with 1. Row-wise steps treat both alike, and so
/// the weighted sum of what they make is what they would make of the final rows.
#[derive(Debug)]
pub enum Changes {}

/// Whether rows of a stream are taken back.
pub trait Change: 'static {
    /// As a value.
    const CHANGES: bool;
    /// Whether those of two streams together are: if those of one are.
    type Or<C: Change>: Change;
}
impl Change for Append {
    const CHANGES: bool = false;
    type Or<C: Change> = C;
}
impl Change for Changes {
    const CHANGES: bool = true;
    type Or<C: Change> = Changes;
}

/// The rows stay.
#[diagnostic::on_unimplemented(
    message = "this step needs rows that stay, but the rows of this stream are taken back when results change",
    label = "the stream before it carries changes",
    note = "put this step before the one that makes the changes, or add `changelog()` before it: the changes as rows that stay, with a column `weight`"
)]
pub trait Stays {}
impl Stays for Append {}

/// An aggregate of the user's that works over streams of this kind.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used where rows are taken back: it has no `retract`",
    label = "cannot take a row out again",
    note = "add `fn retract(&mut self, ..)` to its `#[operator] impl` block, with the parameters of `update`: it undoes what `update` did with the row"
)]
pub trait FoldsIn<C> {}
impl<A> FoldsIn<Append> for A {}
#[diagnostic::do_not_recommend]
impl<A> FoldsIn<super::Decoy<A>> for A {}
#[diagnostic::do_not_recommend]
impl<A: Retracts> FoldsIn<Changes> for A {}
/// Asks whether an aggregate works over a stream; used by generated code.
#[doc(hidden)]
pub fn folds<A: FoldsIn<C>, R, K, B, T, C>(_: Stream<'_, R, K, B, T, C>) {}

/// A stream that carries changes.
#[diagnostic::on_unimplemented(
    message = "`changelog` shows what changes, but the rows of this stream are never taken back",
    label = "no changes before it",
    note = "changes come from results that are sent again: `key_by(..) -> window(global(on_update)) -> aggregate(..)`"
)]
pub trait TakesBack {}
impl TakesBack for Changes {}

/// A sink that takes a stream of this kind.
#[diagnostic::on_unimplemented(
    message = "this sink cannot apply updates and retractions, but the stream produces them",
    label = "only takes rows that stay",
    note = "`to(..).folded()` keeps the final rows: a table or topic as they change, a file when the job ends; `changelog()` before the sink stores the changes as rows, with a column `weight`; a sink of your own implements `Sink::changes` and is made by `Sink::upserting(..)`"
)]
pub trait Takes<C> {}
impl<S> Takes<Append> for S {}
impl<R> Takes<Changes> for Sink<R, Changes> {}

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// The changes as rows that stay, each with its weight, 1 or -1, in the column `weight`. In `pipeline!`: `changelog()`.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone)]
    /// struct Sale { shop: Str, amount: i64 }
    ///
    /// pipeline! {
    ///     /// Each total of a shop that there ever was.
    ///     pub fn history(sales: Source<Sale>);
    ///     history = sales -> key_by(shop) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount) }) -> changelog();
    ///     history -> sink;
    /// }
    ///
    /// /// A total that is so, or is no more.
    /// #[derive(Record, Debug, PartialEq)]
    /// struct Entry { shop: Str, total: i64, weight: i64 }
    ///
    /// # fn main() -> sabot::Result<()> {
    /// let sale = |amount| Sale { shop: "A".into(), amount };
    /// let job = history(vec![sale(5), sale(2)]).options(|o| o.morsel_rows = 1).sequential();
    /// let entry = |total, weight| Entry { shop: "A".into(), total, weight };
    /// assert_eq!(job.collect::<Entry>()?, [entry(5, 1), entry(5, -1), entry(7, 1)]);
    /// # Ok(()) }
    /// ```
    pub fn changelog<X: Layer<V = i64>>(self) -> Stream<'g, X::On<R>, Unkeyed, B, T, Append>
    where
        C: TakesBack,
    {
        let graph = self.graph();
        let all = columns_of::<X::On<R>>();
        let column = all.last().map(|c| c.name.to_string()).unwrap_or_default();
        if columns_of::<R>().iter().any(|c| *c.name == *column) {
            graph.problem(format!(
                "`{}`: `changelog` adds the column `{column}`, which is there already; give it another name with `select` before",
                graph.current()
            ));
        }
        let (op, keys, time) = (Op::Changelog { column }, self.keys(), self.time());
        let node = graph.add(op, vec![self.node()], plan_columns(&all), keys, B::ENDS, time);
        Stream::new(graph, node)
    }
}
