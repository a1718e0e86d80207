//! From the value of an expression to a column's value.
//!
//! `row { drag: drag(f.dep_delay?, f.distance) }` yields a value per row; [`Cell`] says which column it belongs to:
//! plain values as they are, `String` through the arena, `Option<Option<T>>` flattened, `Result` with its error noted.

use std::cell::{Cell as StdCell, RefCell};
use std::fmt::Display;

use super::{
    Arena, Bytes, Date, Decimal, Duration, Env, Fallible, List, ListRef, MayFail, Never, NotNull, Str, Time, Timestamp, Value, Zone,
};
use super::{Micros, Millis, Nanos, Seconds};

/// A failure of user code on one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Row number within the batch.
    pub row: usize,
    /// Number of the step within the run.
    pub step: u32,
    /// Number of the expression within the step, if its code says.
    pub cell: Option<u32>,
    /// The error's text.
    pub message: String,
}

/// Collects the faults of a run, when it is run again to find out.
#[derive(Debug, Default)]
pub struct Faults {
    row: StdCell<usize>,
    found: RefCell<Vec<Fault>>,
}
impl Faults {
    /// The row that is being computed.
    pub fn at(&self, row: usize) {
        self.row.set(row);
    }
    /// The row that was being computed last.
    pub fn row(&self) -> usize {
        self.row.get()
    }
    #[cold]
    fn record(&self, make: Make<'_>, error: &dyn Display) {
        let cell = Some(u32::from(make.cell)).filter(|_| make.cell != Make::UNKNOWN);
        self.found.borrow_mut().push(Fault { row: self.row.get(), step: make.number.into(), cell, message: error.to_string() });
    }
    /// The faults, in row order.
    pub fn take(&self) -> Vec<Fault> {
        self.found.take()
    }
}

/// What a step needs beside the row: which outputs are wanted, where made text goes, who collects errors.
#[derive(Clone, Copy, Debug)]
pub struct Make<'a> {
    mask: u64,
    at: u32,
    /// Number of the step in its run, and of the expression in the step: only looked at when it fails.
    number: u16,
    cell: u16,
    arena: &'a Arena,
    faults: Option<&'a Faults>,
}
impl<'a> Make<'a> {
    const UNKNOWN: u16 = u16::MAX;
    /// Bits of `mask` say which predicates and outputs of the run are wanted; all of them with `!0`.
    #[inline(always)]
    pub fn new(mask: u64, arena: &'a Arena, faults: Option<&'a Faults>) -> Self {
        Make { mask, at: 0, number: 0, cell: Make::UNKNOWN, arena, faults }
    }
    /// The same for a step whose first bit is `at`.
    #[inline(always)]
    pub fn step(self, at: u32) -> Self {
        Make { at, ..self }
    }
    /// The same for the step after `steps` others of the run.
    #[inline(always)]
    pub(crate) fn after(self, steps: u32) -> Self {
        Make { number: self.number.wrapping_add(steps as u16), ..self }
    }
    /// The same for expression `number` of the step: errors are put down to it.
    #[inline(always)]
    pub fn cell(self, number: u16) -> Self {
        Make { cell: number, ..self }
    }
    /// Notes an error of the expression.
    pub(crate) fn fault(self, error: &dyn Display) {
        if let Some(faults) = self.faults {
            faults.record(self, error);
        }
    }
    /// Whether errors are collected, so that a row is not looked at any more once it failed.
    #[inline(always)]
    pub(crate) fn tracks(self) -> bool {
        self.faults.is_some()
    }
    /// The same with another mask.
    #[inline(always)]
    pub(crate) fn masked(self, mask: u64) -> Self {
        Make { mask, ..self }
    }
    /// The same without the first `n` bits (as far as these are a step's own).
    #[inline(always)]
    pub(crate) fn without(self, n: u32) -> Self {
        Make { mask: self.mask & !((1 << if n > 63 { 63 } else { n }) - 1), ..self }
    }
    /// Whether the step's bit `i` is wanted. Runs have at most 63 maskable bits; the rest share bit 63.
    #[inline(always)]
    pub fn wants(self, i: u32) -> bool {
        let bit = self.at + i;
        self.mask >> (if bit > 63 { 63 } else { bit }) & 1 == 1
    }
    /// Copies text that does not come from the row: `m.text(&format!(..))`.
    #[inline]
    pub fn text(self, text: &str) -> &'a str {
        self.arena.text(text)
    }
    /// The arena.
    pub fn arena(self) -> &'a Arena {
        self.arena
    }
    /// Where writers may find text.
    pub(crate) fn env(self, buffers: &'a [arrow_buffer::Buffer]) -> Env<'a> {
        Env::new(buffers, self.arena)
    }
}

/// A value on its way into a column, and whether its computation failed.
pub struct Slot<'a, V: Value> {
    value: V::Ref<'a>,
    bad: bool,
}
impl<'a, V: Value> Slot<'a, V> {
    /// A good value.
    #[inline(always)]
    pub fn good(value: V::Ref<'a>) -> Self {
        Slot { value, bad: false }
    }
    /// The place of an output that is not wanted.
    #[inline(always)]
    pub fn unwanted() -> Self {
        Slot { value: V::blank(), bad: false }
    }
    /// [`take`](Self::take), which also tells the type of the column.
    #[inline(always)]
    pub fn take_of(self, bad: &mut bool, _kind: &Kind<V>) -> V::Ref<'a> {
        self.take(bad)
    }
    /// The value; `bad` is set if its computation failed.
    #[inline(always)]
    pub fn take(self, bad: &mut bool) -> V::Ref<'a> {
        *bad |= self.bad;
        self.value
    }
}

/// The type of a column, without a value.
#[derive(Debug)]
pub struct Kind<V>(std::marker::PhantomData<fn() -> V>);
impl<V> Kind<V> {
    /// To be inferred.
    #[inline(always)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Kind(std::marker::PhantomData)
    }
}
/// A cons list of [`Kind`]s.
pub trait Kinds: Send + Sync + 'static {
    /// Whether one of the columns may fail.
    type Fails: Fallible;
}
impl Kinds for () {
    type Fails = Never;
}
impl<V: Value, Rest: Kinds> Kinds for (Kind<V>, Rest) {
    type Fails = <V::Fails as Fallible>::Or<Rest::Fails>;
}

/// Values of expressions that belong to a column of type `V`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored in an Arrow column",
    label = "no Arrow mapping for this type",
    note = "columns may be bool, integers, floats, text, `Decimal`, `Date`, `Time`, `Timestamp`, `Duration`, lists or nested records, and `Option` or `Result` of these",
    note = "a future comes from an async operator that is not awaited: `row {{ place: geo(t.ip).await }}`"
)]
pub trait Cell<'a, V: Value> {
    /// The value for the column.
    fn cell(self, make: Make<'a>) -> Slot<'a, V>;
}

/// Cells that are not `Option`s, so that `Option<Option<T>>` can flatten.
pub trait Flat {}

/// The value of an expression, on its way into a column.
#[inline(always)]
pub fn col<'a, V: Value, T: Cell<'a, V>>(make: Make<'a>, value: T) -> Slot<'a, V> {
    value.cell(make)
}

/// As [`col`] where an error ends the job anyway, so that the column is what it is without.
#[inline(always)]
pub fn sure<'a, V: Value, W: Value<Good = V, Ref<'a> = V::Ref<'a>>, T: Cell<'a, W>>(make: Make<'a>, value: T) -> Slot<'a, V> {
    let slot = value.cell(make);
    Slot { value: slot.value, bad: slot.bad }
}

macro_rules! plain {
    ($([$($gen:tt)*] $t:ty),* $(,)?) => {$(
        impl<'a, $($gen)*> Cell<'a, $t> for $t {
            #[inline(always)]
            fn cell(self, _make: Make<'a>) -> Slot<'a, $t> { Slot::good(self) }
        }
        impl<$($gen)*> Flat for $t {}
        impl<$($gen)*> NotNull for $t {}
    )*};
}
plain!(
    [] bool, [] i8, [] i16, [] i32, [] i64, [] u8, [] u16, [] u32, [] u64, [] half::f16, [] f32, [] f64, [] Date,
    [const P: u8, const S: i8] Decimal<P, S>,
    [Z: Zone] Timestamp<Seconds, Z>, [Z: Zone] Timestamp<Millis, Z>, [Z: Zone] Timestamp<Micros, Z>, [Z: Zone] Timestamp<Nanos, Z>,
    [] Duration<Seconds>, [] Duration<Millis>, [] Duration<Micros>, [] Duration<Nanos>,
    [] Time<Seconds>, [] Time<Millis>, [] Time<Micros>, [] Time<Nanos>,
);
impl NotNull for Str {}
impl NotNull for Bytes {}
impl NotNull for super::Dict<Str> {}

impl<'a> Cell<'a, Str> for &'a str {
    #[inline(always)]
    fn cell(self, _make: Make<'a>) -> Slot<'a, Str> {
        Slot::good(self)
    }
}
impl<'a> Cell<'a, Str> for String {
    #[inline]
    fn cell(self, make: Make<'a>) -> Slot<'a, Str> {
        Slot::good(make.arena.text(&self))
    }
}
impl<'a> Cell<'a, Str> for Str {
    #[inline]
    fn cell(self, make: Make<'a>) -> Slot<'a, Str> {
        Slot::good(make.arena.text(&self))
    }
}
impl<'a> Cell<'a, Str> for std::borrow::Cow<'a, str> {
    #[inline]
    fn cell(self, make: Make<'a>) -> Slot<'a, Str> {
        Slot::good(match self {
            std::borrow::Cow::Borrowed(s) => s,
            std::borrow::Cow::Owned(s) => make.arena.text(&s),
        })
    }
}
impl<'a> Cell<'a, Bytes> for &'a [u8] {
    #[inline(always)]
    fn cell(self, _make: Make<'a>) -> Slot<'a, Bytes> {
        Slot::good(self)
    }
}
impl<'a> Cell<'a, Bytes> for Vec<u8> {
    #[inline]
    fn cell(self, make: Make<'a>) -> Slot<'a, Bytes> {
        Slot::good(make.arena.bytes(&self))
    }
}
impl<'a, T: Value> Cell<'a, List<T>> for ListRef<'a, T> {
    #[inline(always)]
    fn cell(self, _make: Make<'a>) -> Slot<'a, List<T>> {
        Slot::good(self)
    }
}
impl Flat for &str {}
impl Flat for String {}
impl Flat for Str {}
impl Flat for std::borrow::Cow<'_, str> {}
impl Flat for &[u8] {}
impl Flat for Vec<u8> {}
impl<T: Value> Flat for ListRef<'_, T> {}

impl<'a, V: NotNull, T: Cell<'a, V> + Flat> Cell<'a, Option<V>> for Option<T> {
    #[inline(always)]
    fn cell(self, make: Make<'a>) -> Slot<'a, Option<V>> {
        match self {
            Some(value) => {
                let slot = value.cell(make);
                Slot { value: Some(slot.value), bad: slot.bad }
            }
            None => Slot::good(None),
        }
    }
}
impl<'a, V: NotNull, T: Cell<'a, V> + Flat> Cell<'a, Option<V>> for Option<Option<T>> {
    #[inline(always)]
    fn cell(self, make: Make<'a>) -> Slot<'a, Option<V>> {
        self.flatten().cell(make)
    }
}
impl<'a, V: Value, T: Cell<'a, V>, E: Display> Cell<'a, MayFail<V>> for Result<T, E> {
    #[inline(always)]
    fn cell(self, make: Make<'a>) -> Slot<'a, MayFail<V>> {
        match self {
            Ok(value) => {
                let slot = value.cell(make);
                Slot { value: slot.value, bad: slot.bad }
            }
            Err(error) => {
                make.fault(&error);
                Slot { value: V::blank(), bad: true }
            }
        }
    }
}
/// `parse(t.text?)`: a null, or a `Result`.
impl<'a, V: NotNull, T: Cell<'a, V> + Flat, E: Display> Cell<'a, MayFail<Option<V>>> for Option<Result<T, E>> {
    #[inline(always)]
    fn cell(self, make: Make<'a>) -> Slot<'a, MayFail<Option<V>>> {
        self.transpose().cell(make)
    }
}
impl<'a, V: NotNull, T: Cell<'a, V> + Flat, E: Display> Cell<'a, MayFail<Option<V>>> for Option<Result<Option<T>, E>> {
    #[inline(always)]
    fn cell(self, make: Make<'a>) -> Slot<'a, MayFail<Option<V>>> {
        self.transpose().map(Option::flatten).cell(make)
    }
}
