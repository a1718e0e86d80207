//! The macros of Sabot.
#![allow(clippy::indexing_slicing)]

mod pipeline;

/// A dataflow graph: sources, steps, sinks.
#[proc_macro]
pub fn pipeline(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    pipeline::pipeline(input.into()).into()
}
