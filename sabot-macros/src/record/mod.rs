//! `#[derive(Record)]`.

mod check;
mod expand;
mod model;
mod parse;
mod schema;
mod shapes;

use proc_macro2::TokenStream;

use crate::common::Errors;

/// The derive.
pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let model = parse::parse(item, &mut errors);
    let mut out = TokenStream::new();
    if let Some(model) = model {
        check::check(&model, &mut errors);
        schema::check(&model, &mut errors);
        out = expand::expand(&model);
        out.extend(schema::tracked(&model));
    }
    out.extend(errors.expand());
    out
}
