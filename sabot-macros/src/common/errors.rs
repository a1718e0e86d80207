//! All the mistakes of an item at once.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

/// Messages and where they belong.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<(Span, String)>);

impl Errors {
    /// Adds a message at a token.
    pub(crate) fn at(&mut self, span: Span, message: impl Into<String>) {
        self.0.push((span, message.into()));
    }
    /// Adds what `syn` had to say.
    pub(crate) fn syn(&mut self, error: &syn::Error) {
        for e in error {
            self.at(e.span(), e.to_string());
        }
    }
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether nothing is wrong.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The messages.
    #[cfg(test)]
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.0.iter().map(|(_, m)| m.as_str()).collect()
    }
    /// `compile_error!`s.
    pub(crate) fn expand(&self) -> TokenStream {
        self.0.iter().map(|(span, message)| quote_spanned!(*span=> ::core::compile_error! { #message })).collect()
    }
}
