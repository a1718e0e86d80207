//! What the type of a stream says about it, and the sentences rustc prints when a step does not fit.

use std::marker::PhantomData;

use super::changes::{Append, Change, Changes};
use super::windows::{Closing, Emission};
use crate::record::{Bytes, Col, Date, Decimal, Dict, Duration, HasTime, NotNull, Str, Time, Timestamp, Unit, Value, Zone};

/// The rows have no key.
///
/// Example: [`Records`](super::Records).
#[derive(Debug)]
pub enum Unkeyed {}
/// The rows are keyed by columns of these types.
///
/// Example: [`Records`](super::Records).
#[derive(Debug)]
pub struct Keyed<K>(PhantomData<fn() -> K>);
/// The rows are keyed and cut into windows of event time, whose results are sent when they are over, or earlier and again
/// (`Updating`).
///
/// Example: [`Records`](super::Records).
#[derive(Debug)]
pub struct Windowed<K, E = Closing>(PhantomData<fn() -> (K, E)>);
/// The rows are keyed, and what is made of all rows of a key is sent again whenever it changes.
#[derive(Debug)]
pub struct Updated<K>(PhantomData<fn() -> K>);
/// The rows end.
///
/// Example: [`Records`](super::Records).
#[derive(Debug)]
pub enum Bounded {}
/// The rows may never end.
///
/// Example: [`Records`](super::Records).
#[derive(Debug)]
pub enum Unbounded {}

/// Whether the rows of a stream end.
///
/// Example: [`Records`](super::Records).
pub trait Bound: 'static {
    /// As a value.
    const ENDS: bool;
}
impl Bound for Bounded {
    const ENDS: bool = true;
}
impl Bound for Unbounded {
    const ENDS: bool = false;
}

/// The bound of two streams together: they end if both do.
///
/// Example: [`Records`](super::Records).
pub trait And<B>: Bound {
    /// The result.
    type Out: Bound;
}
impl<B: Bound> And<B> for Bounded {
    type Out = B;
}
impl<B: Bound> And<B> for Unbounded {
    type Out = Unbounded;
}

/// A value that can be a key: equal values meet.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a key",
    label = "not a key type",
    note = "keys are integers, bool, text, bytes, dates, times, timestamps, decimals, and `Option` of these; floats are not: round to an integer first"
)]
pub trait KeyValue: Value {}
macro_rules! keys {
    ($([$($g:tt)*] $t:ty),* $(,)?) => {$( impl<$($g)*> KeyValue for $t {} )*};
}
keys!([] i8, [] i16, [] i32, [] i64, [] u8, [] u16, [] u32, [] u64, [] bool, [] Str, [] Bytes, [] Date, [const P: u8, const S: i8] Decimal<P, S>, [] Dict<Str>);
impl<U: Unit, Z: Zone> KeyValue for Timestamp<U, Z> where Timestamp<U, Z>: Value {}
impl<U: Unit> KeyValue for Duration<U> where Duration<U>: Value {}
impl<U: Unit> KeyValue for Time<U> where Time<U>: Value {}
#[diagnostic::do_not_recommend]
impl<T: KeyValue + NotNull> KeyValue for Option<T> {}

/// A key column: `key_by(carrier)` passes each column through this, so that errors point at it.
///
/// Example: [`Records`](super::Records).
pub fn key<V: KeyValue>(column: Col<V>) -> Col<V> {
    column
}

/// The column types of a key: one type, or a tuple of them.
pub trait KeyTypes: 'static {
    /// The columns, always as a tuple.
    type Cols: Copy;
    /// The columns by name.
    fn cols(names: &mut dyn Iterator<Item = &'static str>) -> Self::Cols;
}
/// The columns that a `key_by` closure returns.
pub trait KeyCols {
    /// Their types.
    type K: KeyTypes;
    /// Their names.
    fn names(&self) -> Vec<&'static str>;
}
impl<V: Value> KeyTypes for V {
    type Cols = (Col<V>,);
    fn cols(names: &mut dyn Iterator<Item = &'static str>) -> Self::Cols {
        (Col::new(names.next().unwrap_or("")),)
    }
}
impl<V: Value> KeyCols for Col<V> {
    type K = V;
    fn names(&self) -> Vec<&'static str> {
        vec![self.name()]
    }
}
macro_rules! key_tuples {
    ($(($($v:ident),*)),* $(,)?) => {$(
        impl<$($v: Value),*> KeyTypes for ($($v,)*) {
            type Cols = ($(Col<$v>,)*);
            fn cols(names: &mut dyn Iterator<Item = &'static str>) -> Self::Cols {
                ($(Col::<$v>::new(names.next().unwrap_or("")),)*)
            }
        }
        impl<$($v: Value),*> KeyCols for ($(Col<$v>,)*) {
            type K = ($($v,)*);
            #[allow(non_snake_case)]
            fn names(&self) -> Vec<&'static str> {
                let ($($v,)*) = self;
                vec![$($v.name()),*]
            }
        }
    )*};
}
key_tuples!((A, B), (A, B, C), (A, B, C, D), (A, B, C, D, E), (A, B, C, D, E, F), (A, B, C, D, E, F, G), (A, B, C, D, E, F, G, H));

/// The stream has a key.
///
/// Example: [`Records`](super::Records).
#[diagnostic::on_unimplemented(
    message = "this step keeps state per key, but the stream is not keyed",
    label = "needs a keyed stream",
    note = "add a `key_by(..)` step before it"
)]
pub trait IsKeyed {
    /// The key's types.
    type Key: KeyTypes;
}
impl<K: KeyTypes> IsKeyed for Keyed<K> {
    type Key = K;
}

/// Two keys of the same types.
#[diagnostic::on_unimplemented(
    message = "cannot join: the left stream is keyed by `{Self}`, the right stream by `{Other}`",
    label = "key types differ",
    note = "key both sides by columns of the same types, in the same order; of several columns, each must be nullable on both sides or on none"
)]
pub trait SameKey<Other> {}
impl<K> SameKey<K> for K {}
// A single key may be nullable on one side: nulls never match, and code and hash of a value are those of its type.
#[diagnostic::do_not_recommend]
impl<K: KeyValue + NotNull> SameKey<K> for Option<K> {}
#[diagnostic::do_not_recommend]
impl<K: KeyValue + NotNull> SameKey<Option<K>> for K {}
#[doc(hidden)]
#[derive(Debug)]
pub struct Decoy<T>(PhantomData<T>);
#[diagnostic::do_not_recommend]
impl<K> SameKey<Decoy<K>> for K {}

/// Two streams of the same rows.
#[diagnostic::on_unimplemented(
    message = "cannot merge streams of `{Self}` and `{Other}` rows",
    label = "row types differ",
    note = "bring both to one record with `select(|r| row Name {{ .. }})`"
)]
pub trait SameRows<Other> {}
impl<R> SameRows<R> for R {}
#[diagnostic::do_not_recommend]
impl<R> SameRows<Decoy<R>> for R {}

/// The stream's rows are what the sink stores.
#[diagnostic::on_unimplemented(
    message = "this sink stores `{Expected}` rows, but the stream carries `{Self}` rows",
    label = "wrong row type for this sink",
    note = "add a `select(|r| row {Expected} {{ .. }})` step before the sink"
)]
pub trait RowsFor<Expected> {}
impl<R> RowsFor<R> for R {}
#[diagnostic::do_not_recommend]
impl<R> RowsFor<Decoy<R>> for R {}

/// The rows end.
///
/// Example: [`Records`](super::Records).
#[diagnostic::on_unimplemented(
    message = "an unbounded stream never ends, so this step would never emit",
    label = "needs rows that end",
    note = "declare the source as one that ends: `Source<T, Bounded>`"
)]
pub trait Finite {}
impl Finite for Bounded {}

/// The aggregate of a stream with this key can be emitted: its window closes, its input ends, or it is sent whenever it changes.
#[diagnostic::on_unimplemented(
    message = "an unbounded stream never ends, so this step would never emit",
    label = "needs a bounded input or a window",
    note = "add a `window(..)` step before it (`window(global(on_update))` sends results as they change), or declare the source as one that ends: `Source<T, Bounded>`"
)]
pub trait Closes<B> {
    /// Whether results are taken back.
    type Change: Change;
    /// The key columns, then `window_start` and `window_end` if there is a window.
    type Cols: Copy;
    /// The columns by name.
    fn cols(names: &mut dyn Iterator<Item = &'static str>) -> Self::Cols;
    /// Event time of the results.
    type Time;
    /// Whether rows are grouped by key columns.
    const KEYED: bool = true;
    /// Whether rows are grouped by window.
    const WINDOWED: bool = false;
}
impl Closes<Bounded> for Unkeyed {
    type Change = Append;
    const KEYED: bool = false;
    type Cols = ();
    fn cols(_: &mut dyn Iterator<Item = &'static str>) {}
    type Time = crate::record::NoTime;
}
impl<K: KeyTypes> Closes<Bounded> for Keyed<K> {
    type Change = Append;
    type Cols = K::Cols;
    fn cols(names: &mut dyn Iterator<Item = &'static str>) -> K::Cols {
        K::cols(names)
    }
    type Time = crate::record::NoTime;
}
/// [`Closes`] with its types as parameters, so that a stream that does not close is one error and not three.
#[diagnostic::on_unimplemented(
    message = "an unbounded stream never ends, so this step would never emit",
    label = "needs a bounded input or a window",
    note = "add a `window(..)` step before it (`window(global(on_update))` sends results as they change), or declare the source as one that ends: `Source<T, Bounded>`"
)]
pub trait Emits<B, C, T, X>: Closes<B, Cols = C, Time = T, Change = X> {}
#[diagnostic::do_not_recommend]
impl<K: Closes<B, Cols = C, Time = T, Change = X>, B, C: Copy, T, X: Change> Emits<B, C, T, X> for K {}
/// The bounds of a window.
pub type WindowCols = (Col<Timestamp<crate::record::Micros>>, Col<Timestamp<crate::record::Micros>>);
impl<K: KeyTypes, E: Emission, B: Bound> Closes<B> for Windowed<K, E> {
    type Change = E::Change;
    type Cols = (K::Cols, WindowCols);
    fn cols(names: &mut dyn Iterator<Item = &'static str>) -> Self::Cols {
        (K::cols(names), (Col::new("window_start"), Col::new("window_end")))
    }
    type Time = HasTime;
    const WINDOWED: bool = true;
}
impl<K: KeyTypes, B: Bound> Closes<B> for Updated<K> {
    type Change = Changes;
    type Cols = K::Cols;
    fn cols(names: &mut dyn Iterator<Item = &'static str>) -> K::Cols {
        K::cols(names)
    }
    type Time = crate::record::NoTime;
}

/// The rows have the event time that windows need, if these need any (`N`).
#[diagnostic::on_unimplemented(
    message = "windows need event time, but this stream has none",
    label = "no event time",
    note = "mark the timestamp with `#[event_time]` in the record, or add an `event_time(column)` step after the source"
)]
pub trait TimeFor<N> {}
impl TimeFor<HasTime> for HasTime {}
#[diagnostic::do_not_recommend]
impl<T> TimeFor<crate::record::NoTime> for T {}
#[diagnostic::do_not_recommend]
impl<T> TimeFor<Decoy<T>> for T {}

/// A key that a window can be cut from.
#[diagnostic::on_unimplemented(
    message = "a window cuts a keyed stream, but this stream is not keyed",
    label = "needs a keyed stream",
    note = "add a `key_by(..)` step before it; for one window over all rows, key by a constant column"
)]
pub trait Windowable {
    /// The columns of the key.
    type Key;
}
impl<K> Windowable for Keyed<K> {
    type Key = K;
}

/// [`Windowable`] with its type as a parameter, so that a stream that is not keyed is one error.
#[diagnostic::on_unimplemented(
    message = "a window cuts a keyed stream, but this stream is not keyed",
    label = "needs a keyed stream",
    note = "add a `key_by(..)` step before it; for one window over all rows, key by a constant column"
)]
pub trait CutsInto<Q>: Windowable<Key = Q> {}
#[diagnostic::do_not_recommend]
impl<K: Windowable<Key = Q>, Q> CutsInto<Q> for K {}

/// A column that can be the event time.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an event time",
    label = "not a timestamp column",
    note = "event time is a `Timestamp<..>` column without nulls"
)]
pub trait Instant: Value {}
impl<U: Unit, Z: Zone> Instant for Timestamp<U, Z> where Timestamp<U, Z>: Value {}
