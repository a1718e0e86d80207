//! What `#[operator]` makes of user code: entries of the registry, aggregates, keyed functions, whole-batch functions.

use std::marker::PhantomData;

use arrow_array::{Array, RecordBatch};

use super::{KeyCtx, SideOutput};
use crate::Result;
use crate::kernel::OperatorEntry;
use crate::record::{Bytes, Cell, List, Make, Micros, Record, Slot, State, Str, Timestamp, Value, Values, View};

/// The type-namespace face of an `#[operator] fn`.
pub trait OperatorItem {
    /// Its registry entry.
    const ENTRY: OperatorEntry;
}

/// A scalar operator that can be bound to a record's columns by parameter name: `map(notional)`.
#[diagnostic::on_unimplemented(
    message = "operator `{Self}` cannot be bound by the names of its parameters",
    label = "a parameter or the result of `{Self}` is not one column value",
    note = "call it by hand: `with(|t| row {{ .. }})`; `map(..)` takes scalar operators and predicates over plain columns, and async ones as `map({Self}.await)`"
)]
pub trait MapOperator<R: Record, W, V: Value>: OperatorItem {
    /// Calls it on a row. `V` is the result's column type; as a parameter, so that a column that does not fit is one error.
    fn call<'a>(row: &View<'a, R>, make: Make<'a>) -> Slot<'a, V>;
}

/// An operator with state per key: `fn bursts(run: &mut Run, ..)`.
///
/// Beside it the macro generates `bursts::__keyed(state, ctx, ..)`, which calls the function with the parameters in
/// their own order.
#[diagnostic::on_unimplemented(
    message = "`{Self}` keeps no state per key",
    label = "not a keyed operator",
    note = "a keyed operator is an `#[operator] fn` whose first parameter is `&mut S`, with `#[derive(State, Default)] struct S`"
)]
pub trait KeyedItem: OperatorItem {
    /// The state of one key.
    type State: State;
    /// The second output; [`NoSide`](super::NoSide) if there is none.
    type Side: SideOutput;
}

/// An operator over whole batches: `#[operator(batch)] fn z_score(b: &Batch<Trade>) -> Result<Float64Array>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not take whole batches",
    label = "not a batch operator",
    note = "a batch operator is an `#[operator(batch)] fn` with one parameter `&Batch<R>`, which returns an Arrow array"
)]
pub trait BatchItem: OperatorItem {
    /// The record whose batches it reads.
    type In: Record;
    /// The array it returns, as long as the batch.
    type Array: Array + 'static;
    /// Calls it.
    ///
    /// # Errors
    /// The function's own error.
    fn call(batch: &Batch<Self::In>) -> Result<Self::Array, String>;
}

/// A parameter's type that is the value of a column: what `map(op)` can pass by itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the value of a column, so no operator can take it",
    label = "not the value of a column",
    note = "an operator takes bool, integers, floats, `&str`, `&[u8]`, `Decimal`, `Date`, `Time`, `Timestamp`, `Duration`, `ListRef<'_, T>`, the rows of nested records, and `Option` of these; cast in the call, or leave out `#[operator]`"
)]
pub trait Plain: for<'a> Value<Ref<'a> = Self> {}
#[diagnostic::do_not_recommend]
impl<V: for<'a> Value<Ref<'a> = V>> Plain for V {}

/// A result's type that can be stored in a column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored in an Arrow column, so no operator can return it",
    label = "no Arrow mapping for this type",
    note = "an operator returns bool, integers, floats, text, bytes, `Decimal`, `Date`, `Time`, `Timestamp`, `Duration`, lists or nested rows, and `Option` or `Result` of these"
)]
pub trait Stored {
    /// The column's type.
    type V: Value;
    /// The value for the column.
    fn store<'a>(self, make: Make<'a>) -> Slot<'a, Self::V>;
}
#[diagnostic::do_not_recommend]
impl<V: Value + for<'a> Cell<'a, V>> Stored for V {
    type V = V;
    #[inline(always)]
    fn store<'a>(self, make: Make<'a>) -> Slot<'a, V> {
        self.cell(make)
    }
}

/// What the `finish` of an aggregate may return for a column of type `V`: the value itself, or its standard owned form.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored in an Arrow column",
    label = "no Arrow mapping for this type",
    note = "an aggregate returns a column value, `String`, `&str`, `Vec<_>`, or an `Option` of these"
)]
pub trait Finish<V: Value> {
    /// The value.
    fn value(self) -> V;
}
impl<V: Value> Finish<V> for V {
    fn value(self) -> V {
        self
    }
}
macro_rules! finish {
    ($([$($gen:tt)*] $from:ty => $to:ty);* $(;)?) => {$(
        impl<$($gen)*> Finish<$to> for $from {
            fn value(self) -> $to { self.into() }
        }
        impl<$($gen)*> Finish<Option<$to>> for Option<$from> {
            fn value(self) -> Option<$to> { self.map(Into::into) }
        }
    )*};
}
finish!([] String => Str; [] &str => Str; [] Vec<u8> => Bytes; [] &[u8] => Bytes; [T: Value] Vec<T> => List<T>);

/// A user aggregate: `#[operator] impl Vwap { fn update(..) fn merge(..) fn finish(..) }`.
///
/// `Default` is the empty aggregate, `merge` combines partial results of different threads in source order.
///
/// Example: the macro [`operator`](macro@crate::operator).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    label = "not an aggregate",
    note = "add `#[operator]` to an `impl {Self}` block with `update`, `merge` and `finish`"
)]
pub trait Aggregate: State {
    /// The parameters of `update`, as a cons list of column types: `(f64, (i64, ()))`.
    type Args: Values;
    /// The column type of the result.
    type Out: Value;
    /// The stable name.
    const ENTRY: OperatorEntry;
    /// Whether there is a `retract`.
    const RETRACTS: bool = false;
    /// Takes a row in.
    fn update(&mut self, args: <Self::Args as Values>::Refs<'_>);
    /// Takes a row out again that `update` took in. Behind a `union` it may come before it.
    fn retract(&mut self, _args: <Self::Args as Values>::Refs<'_>) {}
    /// Takes another partial result in.
    fn merge(&mut self, other: Self);
    /// The result.
    fn finish(&self) -> Self::Out;
}

/// An [`Aggregate`] with a `retract`: it can be used where rows are taken back.
pub trait Retracts: Aggregate {}

/// An operator with state per key, timers, and rows of its own: `#[operator] impl Visits { fn row(..) fn timer(..) }`.
///
/// Beside it the macro generates `Visits::__keyed(state, ctx, out, ..)`, which calls `row`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` keeps no state per key",
    label = "not a keyed operator",
    note = "a keyed operator is an `#[operator] fn` whose first parameter is `&mut S`, or an `#[operator] impl` with `fn row(&mut self, ..)`"
)]
pub trait KeyedRows: State {
    /// The column type of what it returns.
    type Out: Value;
    /// The second output; [`NoSide`](super::NoSide) if there is none.
    type Side: SideOutput;
    /// [`EventTimers`] or [`NoTimers`].
    type Timers;
    /// The stable name.
    const ENTRY: OperatorEntry;
    /// Whether it takes timers of event time.
    const TIMER: bool;
    /// Whether it takes timers by the clock.
    const CLOCK_TIMER: bool;
    /// A timer of event time fires.
    fn timer(&mut self, _ctx: &mut KeyCtx<Self::Side>, _at: Timestamp<Micros>, _out: &mut Vec<Self::Out>) {}
    /// A timer by the clock fires.
    fn clock_timer(&mut self, _ctx: &mut KeyCtx<Self::Side>, _at: Timestamp<Micros>, _out: &mut Vec<Self::Out>) {}
}
/// An operator takes timers of event time.
#[derive(Debug)]
pub enum EventTimers {}
/// An operator takes no timers of event time.
#[derive(Debug)]
pub enum NoTimers {}

/// What a keyed operator returns: a value for its column, or `None` to emit nothing for this row.
pub trait Emit {
    /// The value.
    type T;
    /// The value, if a row is emitted.
    fn emit(self) -> Option<Self::T>;
}
impl<T> Emit for Option<T> {
    type T = T;
    fn emit(self) -> Option<T> {
        self
    }
}

/// A batch of records, for `#[operator(batch)]`: columns through the typed accessors that `#[derive(Record)]` generates.
///
/// Example: the macro [`operator`](macro@crate::operator).
pub struct Batch<R> {
    batch: RecordBatch,
    kind: PhantomData<fn() -> R>,
}
impl<R> std::fmt::Debug for Batch<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.batch.fmt(f)
    }
}
impl<R: Record> Batch<R> {
    /// Wraps a dense batch whose columns have exactly the Arrow types of `R`.
    pub fn new(batch: RecordBatch) -> Self {
        Batch { batch, kind: PhantomData }
    }
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }
    /// The batch.
    pub fn record_batch(&self) -> &RecordBatch {
        &self.batch
    }
    /// A column by name, as a concrete Arrow array.
    ///
    /// # Panics
    /// If it has another type: generated accessors never do.
    #[allow(clippy::panic)]
    pub fn column<A: Array + 'static>(&self, name: &str) -> &A {
        match self.batch.column_by_name(name).and_then(|c| c.as_any().downcast_ref::<A>()) {
            Some(a) => a,
            None => panic!("column `{name}` is not in the batch, or has another type"),
        }
    }
}
