//! What the macros share: collecting errors, reading attributes, names and types as tokens.

/// `quote!` with `Span::mixed_site`: our local variables never meet the user's.
macro_rules! ours {
    ($($tokens:tt)*) => { ::quote::quote_spanned!(::proc_macro2::Span::mixed_site()=> $($tokens)*) };
}

mod attrs;
mod errors;
mod names;
mod source;
mod types;

pub(crate) use attrs::{Opt, doc_of, doc_or, options, text_of};
pub(crate) use errors::Errors;
pub(crate) use names::{Case, bare, name_type, similar};
pub(crate) use source::{Place, fnv};
pub(crate) use types::{Known, elided, generic_args, last_segment, name_lifetimes, span_of, substitute, text, value_type};
