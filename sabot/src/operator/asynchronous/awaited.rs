//! The value of one row of an async column: known, or to come.

use std::pin::Pin;

use super::AsyncOptions;
use crate::operator::OperatorItem;
use crate::record::{Arena, Cell, Faults, Make, Record, Value, View};

/// A value for a column of type `V`, or the error's text.
pub(super) type Answer<V> = Result<V, String>;

/// A future that gives one.
pub(super) type Call<V> = Pin<Box<dyn Future<Output = Answer<V>> + Send>>;

/// What the closure of an async step returns for a row: a call that is to be waited for, or a value without one.
pub struct Awaited<V: Value>(pub(super) Inner<V>);

pub(super) enum Inner<V: Value> {
    Known(Answer<V>),
    Call(Call<V>),
}

impl<V: Value> std::fmt::Debug for Awaited<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Inner::Known(Ok(v)) => write!(f, "Awaited({:?})", v.borrow()),
            Inner::Known(Err(e)) => write!(f, "Awaited(Err({e:?}))"),
            Inner::Call(_) => f.write_str("Awaited(..)"),
        }
    }
}

impl<V: Value> Awaited<V> {
    /// The result of a future. It owns what it needs: the row is gone when it runs.
    pub fn call<T>(future: impl Future<Output = T> + Send + 'static) -> Self
    where
        T: for<'a> Cell<'a, V>,
    {
        Awaited(Inner::Call(Box::pin(async move { settled(future.await) })))
    }
    /// The result of a future, or null where there is none.
    pub fn optional<T>(future: Option<impl Future<Output = T> + Send + 'static>) -> Self
    where
        Option<T>: for<'a> Cell<'a, V>,
    {
        match future {
            Some(future) => Awaited::call(async move { Some(future.await) }),
            None => Awaited::value(None::<T>),
        }
    }
    /// A value without a call.
    pub fn value<T: for<'a> Cell<'a, V>>(value: T) -> Self {
        Awaited(Inner::Known(settled(value)))
    }
}

/// The column's value of what a function returned.
fn settled<V: Value, T: for<'a> Cell<'a, V>>(value: T) -> Answer<V> {
    let (arena, faults) = (Arena::default(), Faults::default());
    let mut bad = false;
    let value = value.cell(Make::new(!0, &arena, Some(&faults))).take(&mut bad);
    if bad { Err(faults.take().into_iter().next().map_or_else(String::new, |f| f.message)) } else { Ok(V::own(value)) }
}

/// An `#[operator] async fn`.
///
/// Beside it the macro generates `geo::__async(..)`, which copies its arguments and calls the function with the copies.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not async: call it without `.await`",
    label = "there is nothing to wait for",
    note = "`.await` is for operators that are an `#[operator] async fn`"
)]
pub trait AsyncItem: OperatorItem {
    /// How it is called.
    const OPTIONS: AsyncOptions;
}

/// An async operator that can be bound to a record's columns by parameter name: `map(geo.await)`.
#[diagnostic::on_unimplemented(
    message = "operator `{Self}` cannot be bound by the names of its parameters",
    label = "a parameter or the result of `{Self}` is not one column value",
    note = "call it by hand: `with(|t| row {{ place: geo(t.ip).await }})`"
)]
pub trait AsyncMap<R: Record, W, V: Value>: AsyncItem {
    /// Calls it on a row.
    fn call(row: &View<'_, R>) -> Awaited<V>;
}
