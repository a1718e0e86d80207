//! Steps over sets of rows: `distinct`, `intersect`, `except`, `sample`.

use crate::plan::{Op, PlanColumn, SetKind};
use crate::record::{Bytes, Col, Date, Decimal, Dict, Duration, NotNull, Record, Str, Time, Timestamp, Unit, Value, Zone};

use super::{And, Bound, Finite, SameRows, Stays, Stream, Unkeyed};

/// A column whose values can be told apart: the types of keys, and floats, which compare by value.
#[diagnostic::on_unimplemented(
    message = "values of type `{Self}` cannot be compared",
    label = "cannot tell rows apart",
    note = "`distinct` compares numbers, bool, text, bytes, dates, times, timestamps, durations, decimals, and `Option` of these"
)]
pub trait Comparable: Value {}
macro_rules! comparable {
    ($([$($g:tt)*] $t:ty),* $(,)?) => {$( impl<$($g)*> Comparable for $t {} )*};
}
comparable!([] i8, [] i16, [] i32, [] i64, [] u8, [] u16, [] u32, [] u64, [] half::f16, [] f32, [] f64);
comparable!([] bool, [] Str, [] Bytes, [] Date, [const P: u8, const S: i8] Decimal<P, S>, [] Dict<Str>);
impl<U: Unit, Z: Zone> Comparable for Timestamp<U, Z> where Timestamp<U, Z>: Value {}
impl<U: Unit> Comparable for Duration<U> where Duration<U>: Value {}
impl<U: Unit> Comparable for Time<U> where Time<U>: Value {}
#[diagnostic::do_not_recommend]
impl<T: Comparable + NotNull> Comparable for Option<T> {}

/// A column of [`Stream::distinct_on`].
#[derive(Clone, Copy, Debug)]
pub struct Compared(&'static str);
/// A column that tells rows apart.
pub fn compared<V: Comparable>(column: Col<V>) -> Compared {
    Compared(column.name())
}

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// Distinct rows: all columns are compared, nulls are equal, floats compare by value. In `pipeline!`: `distinct()`.
    ///
    /// Over a bounded stream the rows come by key group of all columns, in each in source order: a fixed order. Over an
    /// endless stream they come at once, and the state grows with the number of distinct rows, for ever.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Visit { page: Str, user: i64 }
    ///
    /// pipeline! {
    ///     /// Who saw what.
    ///     pub fn seen(visits: Source<Visit>);
    ///     seen = visits -> distinct();
    ///     seen -> sink;
    /// }
    ///
    /// let visit = |page: &str, user| Visit { page: page.into(), user };
    /// let rows = vec![visit("home", 1), visit("home", 1), visit("help", 1)];
    /// assert_eq!(seen(rows).collect::<Visit>()?.len(), 2);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn distinct(self) -> Self {
        self.all_comparable("distinct");
        self.same_rows(Op::Distinct { columns: None })
    }
    /// The first row, in source order, of each combination of values of some columns; the row is kept whole. In
    /// `pipeline!`: `distinct(user, page)`.
    ///
    /// Order and state are as those of [`distinct`](Self::distinct). Of an endless source of several partitions, the row
    /// that arrives first is the first.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Visit { page: Str, user: i64 }
    ///
    /// pipeline! {
    ///     /// The page on which each user came.
    ///     pub fn entries(visits: Source<Visit>);
    ///     entries = visits -> distinct(user);
    ///     entries -> sink;
    /// }
    ///
    /// let visit = |page: &str, user| Visit { page: page.into(), user };
    /// let rows = vec![visit("home", 1), visit("help", 1), visit("home", 1)];
    /// assert_eq!(entries(rows).collect::<Visit>()?, [visit("home", 1)]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn distinct_on<const N: usize>(self, f: impl FnOnce(&R::Cols) -> [Compared; N]) -> Self {
        let columns = f(&R::cols()).iter().map(|c| c.0.to_owned()).collect();
        self.same_rows(Op::Distinct { columns: Some(columns) })
    }
    /// A random part of the rows: each stays with probability `fraction`, from 0 to 1. The same rows stay at any number of
    /// threads, and after a restart; another `seed` chooses others. In `pipeline!`: `sample(0.1)`, `sample(0.1, seed = 7)`.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Visit { user: i64 }
    ///
    /// pipeline! {
    ///     /// One row in ten.
    ///     pub fn some(visits: Source<Visit>);
    ///     some = visits -> sample(0.1, seed = 7);
    ///     some -> sink;
    /// }
    ///
    /// let rows: Vec<Visit> = (0..10_000).map(|user| Visit { user }).collect();
    /// let sampled = some(rows).collect::<Visit>()?.len();
    /// assert!((900..1100).contains(&sampled));
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn sample(self, fraction: f64, seed: u64) -> Self
    where
        C: Stays,
    {
        if !(0.0..=1.0).contains(&fraction) {
            self.graph().problem(format!("`sample` keeps a part of the rows, from 0 to 1, not {fraction}"));
        }
        self.same_rows(Op::Sample { fraction, seed })
    }
    /// The distinct rows that the other stream has too, as SQL's `INTERSECT`: nulls are equal. Both streams must end.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Id { id: i64 }
    ///
    /// pipeline! {
    ///     /// In both.
    ///     pub fn both(a: Source<Id, Bounded>, b: Source<Id, Bounded>);
    ///     both = a -> intersect(b);
    ///     both -> sink;
    /// }
    ///
    /// let id = |id| Id { id };
    /// assert_eq!(both(vec![id(1), id(2), id(2)], vec![id(2), id(3)]).collect::<Id>()?, [id(2)]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn intersect<R2, K2, B2: Bound + Finite>(
        self,
        other: Stream<'g, R2, K2, B2, T, C>,
    ) -> Stream<'g, R, Unkeyed, <B as And<B2>>::Out, T, C>
    where
        R: SameRows<R2>,
        B: And<B2> + Finite,
        C: Stays,
    {
        self.set(other.node(), SetKind::Intersect)
    }
    /// The distinct rows that the other stream does not have, as SQL's `EXCEPT`: nulls are equal. Both streams must end.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Id { id: i64 }
    ///
    /// pipeline! {
    ///     /// In the first alone.
    ///     pub fn lost(a: Source<Id, Bounded>, b: Source<Id, Bounded>);
    ///     lost = a -> except(b -> filter(|i| i.id > 0));
    ///     lost -> sink;
    /// }
    ///
    /// let id = |id| Id { id };
    /// assert_eq!(lost(vec![id(1), id(1), id(2)], vec![id(2), id(3)]).collect::<Id>()?, [id(1)]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn except<R2, K2, B2: Bound + Finite>(
        self,
        other: Stream<'g, R2, K2, B2, T, C>,
    ) -> Stream<'g, R, Unkeyed, <B as And<B2>>::Out, T, C>
    where
        R: SameRows<R2>,
        B: And<B2> + Finite,
        C: Stays,
    {
        self.set(other.node(), SetKind::Except)
    }
    fn set<B2: Bound>(self, other: crate::plan::NodeId, kind: SetKind) -> Stream<'g, R, Unkeyed, B2, T, C> {
        let op = Op::Set { kind };
        self.all_comparable(op.step());
        let graph = self.graph();
        let node = graph.add(op, vec![self.node(), other], self.columns(), Vec::new(), B2::ENDS, self.time());
        Stream::new(graph, node)
    }
    /// Notes columns that no hash is known of.
    fn all_comparable(self, step: &str) {
        let odd: Vec<String> =
            self.columns().iter().filter(|c| !comparable(c)).map(|c| format!("`{}` ({})", c.name, c.data_type)).collect();
        if !odd.is_empty() {
            self.graph().problem(format!(
                "`{step}` compares all columns, but these cannot be compared: {}; leave them out with `select`",
                odd.join(", ")
            ));
        }
    }
}

/// Whether a column's values can be told apart.
fn comparable(column: &PlanColumn) -> bool {
    !column.data_type.is_nested() || matches!(column.data_type, arrow_schema::DataType::Dictionary(..))
}
