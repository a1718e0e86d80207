//! Where an item is in its file, and what it hashes to.

use proc_macro2::{Span, TokenStream};

/// Lines of an item. Zero in unit tests, where there is no compiler to ask.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) end_line: u32,
}

impl Place {
    /// From the item's first token to its last.
    pub(crate) fn of(first: Span, item: &TokenStream) -> Self {
        if !proc_macro::is_available() {
            return Place::default();
        }
        let line = first.unwrap().line();
        let end = item.clone().into_iter().last().map_or(line, |t| t.span().unwrap().end().line());
        Place { line: line as u32, end_line: end.max(line) as u32 }
    }
}

/// FNV-1a over the token text: layout and comments do not count, a changed literal does.
pub(crate) fn fnv(tokens: &TokenStream) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in tokens.to_string().split_whitespace().flat_map(|w| w.bytes().chain([b' '])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}
