//! The row-wise steps, and their composition by type.
//!
//! Each step holds one closure. The steps of one run nest as [`Then`], so that rustc and LLVM see one loop body; nothing
//! beyond a run does, because compile time is a feature. A step has two forms: [`Step::lane`], branch-free, called on all
//! 64 lanes (legal for total steps), and [`Step::one`], which never calls a step on a row that an earlier one dropped.

use std::marker::PhantomData;

use super::computed::{Cat, Computed};
use crate::record::{Fallible, Kinds, Make, Never, Record, Sometimes, View};

/// What a step made of a row.
pub struct Done<'a, O: Record, C: Computed> {
    /// Whether the row is kept.
    pub keep: bool,
    /// Whether user code returned an error for it.
    pub bad: bool,
    /// The row that the next step sees.
    pub row: O::Row<'a>,
    /// The values computed so far.
    pub made: C::Vals<'a>,
}

/// A row-wise step, or a run of them.
pub trait Step: Send + Sync + 'static {
    /// The record it reads.
    type In: Record;
    /// The record it leaves.
    type Out: Record;
    /// The values it computes.
    type Made: Computed;
    /// Whether user code in it may return an error.
    type Fails: Fallible;
    /// The record it leaves, of this one, once errors are dealt with.
    type Good<In: Record>: Record;
    /// The same where errors became nulls.
    type Nulled<In: Record>: Record;
    /// Whether a value that failed cannot become a null: a later step of the run has seen it, or the column's type is fixed.
    type Bars: Fallible;
    /// Number of single steps.
    const STEPS: u32 = 1;
    /// Number of bits it takes in a run's mask: one per predicate and per computed column.
    const BITS: u32;
    /// Whether there is a predicate.
    const FILTERS: bool;
    /// Number of predicates before anything else.
    const LEAD: u32;
    /// Whether it consists of predicates.
    const ONLY: bool;
    /// Whether there is a predicate after the leading ones.
    const MORE: bool;
    /// The first `N` leading predicates of a row. Branch-free.
    #[inline(always)]
    fn lead<'a, const N: u32>(&self, _row: <Self::In as Record>::Row<'a>, _make: Make<'a>, _at: u32) -> bool {
        true
    }
    /// Branch-free; `at` is the step's first mask bit.
    fn lane<'a>(&self, row: <Self::In as Record>::Row<'a>, make: Make<'a>, at: u32) -> Done<'a, Self::Out, Self::Made>;
    /// Short-circuit: `None` as soon as the row is dropped.
    fn one<'a>(&self, row: <Self::In as Record>::Row<'a>, make: Make<'a>, at: u32) -> Option<Done<'a, Self::Out, Self::Made>>;
}

/// What a predicate says of a row: `bool`, or a `Result` of it.
#[diagnostic::on_unimplemented(
    message = "a predicate is true or false of a row, or a `Result` of that, but this is `{Self}`",
    label = "expected `bool` or `Result<bool, _>`",
    note = "compare it: `filter(|t| t.price > 0.0)`; a null drops the row: `filter(|t| t.late?)`"
)]
pub trait Verdict: 'static {
    /// Whether it may be an error.
    type Fails: Fallible;
    /// Whether the row is kept, and whether that is an error, which is noted.
    fn verdict(self, make: Make<'_>) -> (bool, bool);
}
impl Verdict for bool {
    type Fails = Never;
    #[inline(always)]
    fn verdict(self, _make: Make<'_>) -> (bool, bool) {
        (self, false)
    }
}
impl<E: std::fmt::Display + 'static> Verdict for Result<bool, E> {
    type Fails = Sometimes;
    #[inline(always)]
    fn verdict(self, make: Make<'_>) -> (bool, bool) {
        match self {
            Ok(keep) => (keep, false),
            Err(error) => {
                make.fault(&error);
                (true, true)
            }
        }
    }
}
/// The verdict of a predicate with `?`: a null drops the row.
#[doc(hidden)]
#[derive(Debug)]
pub struct OrNull<Q>(pub Option<Q>);
impl<Q: Verdict> Verdict for OrNull<Q> {
    type Fails = Q::Fails;
    #[inline(always)]
    fn verdict(self, make: Make<'_>) -> (bool, bool) {
        self.0.map_or((false, false), |q| q.verdict(make))
    }
}
/// What may be a predicate's value, and the verdict `V` that it is. As `V` follows from the implementation and is not the type
/// itself, a value that is no verdict is one error, at its expression.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a predicate is true or false of a row, or a `Result` of that, but this is `{Self}`",
    label = "expected `bool` or `Result<bool, _>`",
    note = "compare it: `filter(|t| t.price > 0.0)`; a null drops the row: `filter(|t| t.late?)`"
)]
pub trait Judges<V> {
    /// The verdict.
    fn judged(self) -> V;
}
impl Judges<bool> for bool {
    #[inline(always)]
    fn judged(self) -> bool {
        self
    }
}
impl<E: std::fmt::Display + 'static> Judges<Result<bool, E>> for Result<bool, E> {
    #[inline(always)]
    fn judged(self) -> Result<bool, E> {
        self
    }
}
/// The value of a predicate; used by generated code.
#[doc(hidden)]
#[inline(always)]
pub fn judged<Q: Judges<V>, V>(value: Q) -> V {
    value.judged()
}

/// Keeps the rows for which a closure says `true`, or `Ok(true)`.
pub struct Filter<R, F, Q = bool>(F, PhantomData<fn() -> (R, Q)>);
impl<R, F, Q> Filter<R, F, Q> {
    /// Wraps the closure.
    pub fn new(f: F) -> Self {
        Filter(f, PhantomData)
    }
}
impl<R: Record, Q: Verdict, F: for<'a> Fn(&View<'a, R>) -> Q + Send + Sync + 'static> Step for Filter<R, F, Q> {
    type In = R;
    type Out = R;
    type Made = ();
    type Fails = Q::Fails;
    type Good<In: Record> = In;
    type Nulled<In: Record> = In;
    // there is no value to become a null
    type Bars = Q::Fails;
    const BITS: u32 = 1;
    const FILTERS: bool = true;
    // one that may fail must see its rows once, in turn
    const LEAD: u32 = !<Q::Fails as Fallible>::MAY as u32;
    const ONLY: bool = !<Q::Fails as Fallible>::MAY;
    const MORE: bool = <Q::Fails as Fallible>::MAY;
    #[inline(always)]
    fn lead<'a, const N: u32>(&self, row: R::Row<'a>, make: Make<'a>, at: u32) -> bool {
        Self::MORE || at >= N || !make.step(at).wants(0) || (self.0)(&View::new(row)).verdict(make).0
    }
    #[inline(always)]
    fn lane<'a>(&self, row: R::Row<'a>, make: Make<'a>, at: u32) -> Done<'a, R, ()> {
        let wanted = make.step(at).wants(0);
        let (keep, bad) = if wanted { (self.0)(&View::new(row)).verdict(make.cell(0)) } else { (true, false) };
        Done { keep, bad, row, made: () }
    }
    #[inline(always)]
    fn one<'a>(&self, row: R::Row<'a>, make: Make<'a>, at: u32) -> Option<Done<'a, R, ()>> {
        let done = self.lane(row, make, at);
        done.keep.then_some(done)
    }
}

/// Columns that a step adds to a record: the markers that `row { .. }` of a `with` generates.
pub trait Added: Send + Sync + 'static {
    /// The record with the columns on top of `B`.
    type On<B: Record>: Record;
    /// The values of all added columns.
    type Vals<'a>: Copy;
    /// The computed ones; the others pass a column on under another name.
    type Made: Computed;
    /// Whether one may fail.
    type Fails: Fallible;
    /// The columns once errors are dealt with.
    type Good: Added;
    /// The columns once errors are nulls.
    type Nulled: Added;
    /// The computed values.
    fn made<'a>(vals: Self::Vals<'a>) -> <Self::Made as Computed>::Vals<'a>;
    /// The row with the values on top.
    fn on<'a, B: Record>(vals: Self::Vals<'a>, base: B::Row<'a>) -> <Self::On<B> as Record>::Row<'a>;
}

/// The result of a `with` closure.
pub struct Adds<'a, X: Added> {
    vals: X::Vals<'a>,
    bad: bool,
}
impl<'a, X: Added> Adds<'a, X> {
    /// Values, and whether computing one failed.
    #[inline(always)]
    pub fn new(vals: X::Vals<'a>, bad: bool) -> Self {
        Adds { vals, bad }
    }
}

/// Adds columns.
pub struct With<R, X, F>(F, PhantomData<fn() -> (R, X)>);
impl<R, X, F> With<R, X, F> {
    /// Wraps the closure.
    pub fn new(f: F) -> Self {
        With(f, PhantomData)
    }
}
impl<R: Record, X: Added, F: for<'a> Fn(&View<'a, R>, Make<'a>) -> Adds<'a, X> + Send + Sync + 'static> Step for With<R, X, F> {
    type In = R;
    type Out = X::On<R>;
    type Made = X::Made;
    type Fails = X::Fails;
    type Good<In: Record> = <X::Good as Added>::On<In>;
    type Nulled<In: Record> = <X::Nulled as Added>::On<In>;
    type Bars = Never;
    const BITS: u32 = X::Made::LEN;
    const FILTERS: bool = false;
    const LEAD: u32 = 0;
    const ONLY: bool = false;
    const MORE: bool = false;
    #[inline(always)]
    fn lane<'a>(&self, row: R::Row<'a>, make: Make<'a>, at: u32) -> Done<'a, Self::Out, X::Made> {
        let adds = (self.0)(&View::new(row), make.step(at));
        Done { keep: true, bad: adds.bad, row: X::on::<R>(adds.vals, row), made: X::made(adds.vals) }
    }
    #[inline(always)]
    fn one<'a>(&self, row: R::Row<'a>, make: Make<'a>, at: u32) -> Option<Done<'a, Self::Out, X::Made>> {
        Some(self.lane(row, make, at))
    }
}

/// A record that a step makes anew, and which of its columns are computed rather than passed on.
pub trait Makes: Send + Sync + 'static {
    /// The record.
    type Out: Record;
    /// The computed columns, in order.
    type Made: Computed;
    /// Whether one may fail.
    type Fails: Fallible;
    /// The record once errors are dealt with.
    type Good: Record;
    /// The record once errors are nulls.
    type Nulled: Record;
    /// Whether the types of its columns are fixed, so that a value that failed cannot become a null.
    type Bars: Fallible;
    /// The computed values of a row.
    fn made<'a>(row: <Self::Out as Record>::Row<'a>) -> <Self::Made as Computed>::Vals<'a>;
}
impl<R: crate::record::Named, F: Kinds> Makes for super::computed::All<R, F> {
    type Out = R;
    type Made = Self;
    type Fails = F::Fails;
    type Good = R;
    type Nulled = R;
    type Bars = Sometimes;
    #[inline(always)]
    fn made<'a>(row: <R as Record>::Row<'a>) -> <R as Record>::Row<'a> {
        row
    }
}

/// The result of a `select` closure.
pub struct Made<'a, X: Makes> {
    row: <X::Out as Record>::Row<'a>,
    bad: bool,
}
impl<'a, X: Makes> Made<'a, X> {
    /// A row, and whether computing a value failed.
    #[inline(always)]
    pub fn new(row: <X::Out as Record>::Row<'a>, bad: bool) -> Self {
        Made { row, bad }
    }
}

/// Replaces the columns.
pub struct Select<R, X, F>(F, PhantomData<fn() -> (R, X)>);
impl<R, X, F> Select<R, X, F> {
    /// Wraps the closure.
    pub fn new(f: F) -> Self {
        Select(f, PhantomData)
    }
}
impl<R: Record, X: Makes, F: for<'a> Fn(&View<'a, R>, Make<'a>) -> Made<'a, X> + Send + Sync + 'static> Step for Select<R, X, F> {
    type In = R;
    type Out = X::Out;
    type Made = X::Made;
    type Fails = X::Fails;
    type Good<In: Record> = X::Good;
    type Nulled<In: Record> = X::Nulled;
    type Bars = X::Bars;
    const BITS: u32 = X::Made::LEN;
    const FILTERS: bool = false;
    const LEAD: u32 = 0;
    const ONLY: bool = false;
    const MORE: bool = false;
    #[inline(always)]
    fn lane<'a>(&self, row: R::Row<'a>, make: Make<'a>, at: u32) -> Done<'a, X::Out, X::Made> {
        let made = (self.0)(&View::new(row), make.step(at));
        Done { keep: true, bad: made.bad, row: made.row, made: X::made(made.row) }
    }
    #[inline(always)]
    fn one<'a>(&self, row: R::Row<'a>, make: Make<'a>, at: u32) -> Option<Done<'a, X::Out, X::Made>> {
        Some(self.lane(row, make, at))
    }
}

/// Two steps as one.
#[derive(Clone, Debug)]
pub struct Then<A, B>(pub A, pub B);
impl<A: Step, B: Step<In = A::Out>> Step for Then<A, B> {
    type In = A::In;
    type Out = B::Out;
    type Made = Cat<A::Made, B::Made>;
    type Fails = <A::Fails as Fallible>::Or<B::Fails>;
    type Good<In: Record> = B::Good<A::Good<In>>;
    type Nulled<In: Record> = B::Nulled<A::Good<In>>;
    type Bars = <A::Fails as Fallible>::Or<B::Bars>;
    const STEPS: u32 = A::STEPS + B::STEPS;
    const BITS: u32 = A::BITS + B::BITS;
    const FILTERS: bool = A::FILTERS || B::FILTERS;
    const LEAD: u32 = A::LEAD + if A::ONLY { B::LEAD } else { 0 };
    const ONLY: bool = A::ONLY && B::ONLY;
    const MORE: bool = A::MORE || if A::ONLY { B::MORE } else { B::FILTERS };
    #[inline(always)]
    fn lead<'a, const N: u32>(&self, row: <A::In as Record>::Row<'a>, make: Make<'a>, at: u32) -> bool {
        if A::ONLY && N > at + A::BITS {
            let a = self.0.lane(row, make, at);
            a.keep & self.1.lead::<N>(a.row, make, at + A::BITS)
        } else {
            self.0.lead::<N>(row, make, at)
        }
    }
    #[inline(always)]
    fn lane<'a>(&self, row: <A::In as Record>::Row<'a>, make: Make<'a>, at: u32) -> Done<'a, B::Out, Self::Made> {
        let a = self.0.lane(row, make, at);
        let b = self.1.lane(a.row, make.after(A::STEPS), at + A::BITS);
        Done { keep: a.keep & b.keep, bad: a.bad | b.bad, row: b.row, made: (a.made, b.made) }
    }
    #[inline(always)]
    fn one<'a>(&self, row: <A::In as Record>::Row<'a>, make: Make<'a>, at: u32) -> Option<Done<'a, B::Out, Self::Made>> {
        let a = self.0.one(row, make, at)?;
        if a.bad && make.tracks() {
            // noted: no later step sees a value that is not there
            return None;
        }
        let b = self.1.one(a.row, make.after(A::STEPS), at + A::BITS)?;
        Some(Done { keep: true, bad: a.bad | b.bad, row: b.row, made: (a.made, b.made) })
    }
}
