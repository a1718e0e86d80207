//! A field of a state that holds one value of many: what a function makes of two, again and again.

use std::fmt;
use std::marker::PhantomData;

use super::State;
use crate::Result;

/// A function that makes one value of two. It must be associative, `(a, b), c` as `a, (b, c)`, if results are to be those of a batch; the
/// held value came first.
///
/// Example: [`Reducing`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how two `{T}` become one",
    label = "no function of a `Reducing`",
    note = "use `Largest` or `Least`, or write `impl Reduce<{T}> for {Self} {{ const NAME .. fn reduce(held: &mut {T}, next: {T}) {{ .. }} }}`"
)]
pub trait Reduce<T>: Send + 'static {
    /// A stable name, for states that were written.
    const NAME: &'static str;
    /// Takes the next value into the one that is held.
    fn reduce(held: &mut T, next: T);
}

/// The largest value; of equal ones the first. A `NaN` is never larger.
///
/// Example: [`Reducing`].
#[derive(Clone, Copy, Debug)]
pub enum Largest {}
/// The least value; of equal ones the first. A `NaN` is never less.
///
/// Example: [`Reducing`].
#[derive(Clone, Copy, Debug)]
pub enum Least {}

impl<T: PartialOrd> Reduce<T> for Largest {
    const NAME: &'static str = "largest";
    fn reduce(held: &mut T, next: T) {
        if next > *held {
            *held = next;
        }
    }
}
impl<T: PartialOrd> Reduce<T> for Least {
    const NAME: &'static str = "least";
    fn reduce(held: &mut T, next: T) {
        if next < *held {
            *held = next;
        }
    }
}

/// A field of a [`State`]: of all values that were added what `F` makes of them, or nothing yet.
///
/// A checkpoint holds the value, and the name of `F` as part of the type: a state that was written with a function of another name is
/// refused, as one with another type is.
///
/// ```
/// use sabot::prelude::*;
///
/// /// Sums modulo a day.
/// enum OfDay {}
/// impl Reduce<i64> for OfDay {
///     const NAME: &'static str = "of day";
///     fn reduce(held: &mut i64, next: i64) { *held = (*held + next) % 86_400; }
/// }
///
/// #[derive(State, Default)]
/// struct Seen { highest: Reducing<f64, Largest>, lowest: Reducing<f64, Least>, busy: Reducing<i64, OfDay> }
///
/// let mut seen = Seen::default();
/// assert_eq!(seen.highest.get(), None);
/// for (price, seconds) in [(5.0, 80_000), (7.5, 6_000), (6.0, 1_000)] {
///     seen.highest.add(price);
///     seen.lowest.add(price);
///     seen.busy.add(seconds);
/// }
/// assert_eq!((seen.highest.get(), seen.lowest.get(), seen.busy.get()), (Some(&7.5), Some(&5.0), Some(&600)));
/// assert_eq!(seen.highest.take(), Some(7.5));
/// ```
pub struct Reducing<T, F>(Option<T>, PhantomData<fn() -> F>);

impl<T, F: Reduce<T>> Reducing<T, F> {
    /// Takes a value in.
    #[inline]
    pub fn add(&mut self, value: T) {
        match &mut self.0 {
            Some(held) => F::reduce(held, value),
            None => self.0 = Some(value),
        }
    }
    /// What is held; `None` if nothing was added.
    pub fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
    /// What is held; from here on nothing is.
    pub fn take(&mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T, F> Default for Reducing<T, F> {
    fn default() -> Self {
        Reducing(None, PhantomData)
    }
}
impl<T: Clone, F> Clone for Reducing<T, F> {
    fn clone(&self) -> Self {
        Reducing(self.0.clone(), PhantomData)
    }
}
impl<T: PartialEq, F> PartialEq for Reducing<T, F> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T: fmt::Debug, F> fmt::Debug for Reducing<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reducing").field(&self.0).finish()
    }
}

impl<T: State, F: Reduce<T>> State for Reducing<T, F> {
    fn type_name() -> String {
        format!("Reducing<{}, {}>", T::type_name(), F::NAME)
    }
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn decode(from: &mut &[u8]) -> Result<Self> {
        Ok(Reducing(State::decode(from)?, PhantomData))
    }
}
