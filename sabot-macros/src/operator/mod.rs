//! `#[operator]`.

mod check;
mod check_aggregate;
mod check_async;
mod check_rows;
mod entry;
mod expand;
mod expand_aggregate;
mod expand_async;
mod expand_map;
mod expand_rows;
mod model;
mod parse;
mod total;
mod waiting;

use proc_macro2::TokenStream;

use crate::common::Errors;
use model::Item;

/// The attribute. The item is emitted as it is, whatever is wrong with it.
pub(crate) fn attribute(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut out = TokenStream::new();
    match parse::parse(options, item.clone(), &mut errors) {
        Some(Item::Function(function)) => {
            let good = check::check(&function, &mut errors);
            // a method is in an `impl`, where nothing can be beside it
            let method = function.sig.receiver().is_some();
            out.extend(if method { item } else { expand::expand(&function, item, good) });
        }
        Some(Item::Aggregate(rows)) if rows.keyed() => {
            let good = check_rows::check(&rows, &mut errors);
            out.extend(item);
            out.extend(expand_rows::expand(&rows, good));
        }
        Some(Item::Aggregate(aggregate)) => {
            check_aggregate::check(&aggregate, &mut errors);
            out.extend(item);
            out.extend(expand_aggregate::expand(&aggregate));
        }
        None => out.extend(item),
    }
    out.extend(errors.expand());
    out
}
