//! A state struct as plain data.

use proc_macro2::Ident;
use syn::Type;

/// A struct that becomes operator state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ident: Ident,
    /// Names and types; empty if the item has no named fields.
    pub(crate) fields: Vec<(Ident, Type)>,
}
