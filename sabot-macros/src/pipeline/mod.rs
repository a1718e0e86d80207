//! `pipeline!`: tolerant parsing, checks by name, and builder calls.

mod check;
mod diagram;
mod expand;
mod meta;
mod model;
mod parse;
mod recover;
mod row;
mod simple;
mod steps;
#[cfg(test)]
mod tests;
mod tokens;

use proc_macro2::TokenStream;

/// Expands a `pipeline!` block.
pub(crate) fn pipeline(input: TokenStream) -> TokenStream {
    expand::expand(&parse::parse(input))
}
