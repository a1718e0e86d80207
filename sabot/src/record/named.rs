//! Columns by a name in the type system: how `map(notional)` binds parameters to columns.
//!
//! A name is a list of its bytes, each a pair of hexadecimal digits, `((H7, H1), ((H7, H4), ((H7, H9), ())))` for `qty`, so
//! that two crates that write the same name mean the same type. `W` says in which layer of a stream the column is; it is
//! always inferred: the outermost one, because a layer passes on only what has another name than its own columns.

use super::{Record, Value};

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

/// The name is another than `O`.
pub trait OtherName<O> {}
impl<N: SameName<O, Is = No>, O> OtherName<O> for N {}

/// Whether two names are the same.
pub trait SameName<O> {
    /// [`Yes`] or [`No`].
    type Is: Answer;
}
impl SameName<()> for () {
    type Is = Yes;
}
impl<H, T> SameName<(H, T)> for () {
    type Is = No;
}
impl<H, T> SameName<()> for (H, T) {
    type Is = No;
}
impl<A: SameDigit<C>, B: SameDigit<D>, T: SameName<U>, C, D, U> SameName<((C, D), U)> for ((A, B), T) {
    type Is = <<A::Is as Answer>::And<B::Is> as Answer>::And<T::Is>;
}

/// Whether two digits are the same.
pub trait SameDigit<O> {
    /// [`Yes`] or [`No`].
    type Is: Answer;
}

/// An answer as a type.
pub trait Answer {
    /// Whether both are yes.
    type And<O: Answer>: Answer;
}
/// Yes.
#[derive(Debug)]
pub enum Yes {}
/// No.
#[derive(Debug)]
pub enum No {}
impl Answer for Yes {
    type And<O: Answer> = O;
}
impl Answer for No {
    type And<O: Answer> = No;
}

macro_rules! digits {
    () => {};
    ($digit:ident $($other:ident)*) => {
        #[doc = concat!("The digit ", stringify!($digit), ".")]
        #[derive(Debug)]
        pub enum $digit {}
        impl SameDigit<$digit> for $digit {
            type Is = Yes;
        }
        $(
            impl SameDigit<$other> for $digit {
                type Is = No;
            }
            impl SameDigit<$digit> for $other {
                type Is = No;
            }
        )*
        digits!($($other)*);
    };
}
digits!(H0 H1 H2 H3 H4 H5 H6 H7 H8 H9 HA HB HC HD HE HF);
