//! Columns by a name in the type system: how `map(notional)` binds parameters to columns.
//!
//! A name is a tuple of characters, `(Ch<'q'>, Ch<'t'>, Ch<'y'>)`, so that two crates that write the same name mean the
//! same type. `W` says in which layer of a stream the column is; it is always inferred.

use super::{Record, Value};

/// One character of a name.
#[derive(Debug)]
pub enum Ch<const C: char> {}

/// The column is in the outermost layer.
#[derive(Debug)]
pub enum Here {}
/// The column is in a layer below.
#[derive(Debug)]
pub struct There<W>(std::marker::PhantomData<W>);

/// `Self` has a column of this name.
pub trait HasColumn<N, W>: Record {
    /// Its type.
    type V: Value;
    /// Its value in a row.
    fn get<'a>(row: &Self::Row<'a>) -> <Self::V as Value>::Ref<'a>;
}
