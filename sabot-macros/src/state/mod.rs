//! `#[derive(State)]`.

mod expand;
mod model;
mod parse;

use proc_macro2::TokenStream;

use crate::common::Errors;

/// The derive.
pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut out = parse::parse(item, &mut errors).map(|model| expand::expand(&model)).unwrap_or_default();
    out.extend(errors.expand());
    out
}
