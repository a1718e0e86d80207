//! How a source tells time, its late rows, and what it cannot read: `watermark(..)`, `late_rows()`, `bad_rows()`.

use super::*;
use crate::pipeline::recover::span_of_time;

/// What `watermark` takes.
const SETTINGS: &[&str] = &["disorder", "max_step"];
const EXAMPLE: &str = "`watermark(disorder = 10.sec(), max_step = 1.hour())`";

impl Build<'_> {
    pub(super) fn watermark(&mut self, name: &Ident, tokens: &[TokenTree], source: bool) {
        self.seal();
        if !source {
            self.cx.error(name.span(), "`watermark` stands right behind a source, where time is told");
        }
        if tokens.is_empty() {
            self.cx.error(name.span(), &format!("`watermark` says how a source tells time: {EXAMPLE}"));
        }
        let mut settings = TokenStream::new();
        for piece in split(tokens, ',').into_iter().filter(|p| !p.is_empty()) {
            match piece {
                [TokenTree::Ident(word), eq, value @ ..]
                    if SETTINGS.iter().any(|s| word == s) && is_punct(Some(eq), '=') && !value.is_empty() =>
                {
                    if let Some((span, message)) = wrong_span(word, value) {
                        self.cx.error(span, message);
                    }
                    let value = stream(value);
                    settings.extend(quote!(.#word(#value)));
                }
                [first, ..] => {
                    let near = match first {
                        TokenTree::Ident(word) if is_punct(piece.get(1), '=') => similar(&word.to_string(), SETTINGS.iter().copied()),
                        _ => None,
                    };
                    let message = match near {
                        Some(near) => format!("`watermark` has no `{first}`; did you mean `{near}`?"),
                        None => format!("`watermark` takes named spans of time: {EXAMPLE}"),
                    };
                    self.cx.error(first.span(), &message);
                }
                [] => {}
            }
        }
        let (s, on, clones) = (id("__s"), self.on(), self.cx.clones(tokens));
        let value = quote!(<::sabot::__private::Watermark as ::core::default::Default>::default() #settings);
        self.out.extend(quote!(let #s = { #clones #on.#name(#value) };));
        self.known.source = source;
    }

    pub(super) fn late_rows(&mut self, name: &Ident, tokens: &[TokenTree], source: bool) {
        self.seal();
        if let Some(first) = tokens.first() {
            self.cx
                .error(first.span(), "`late_rows` takes nothing: write `late_rows()`; how late is too late says `watermark(..)` before it");
        }
        if !self.pair {
            self.cx.error(name.span(), "`late_rows()` makes two streams: write `(on_time, late) = .. -> late_rows();`");
        }
        if !source {
            self.cx.error(name.span(), "`late_rows` stands right behind a source, where rows are found to be late");
        }
        let (s, b, on) = (id("__s"), id("__b"), self.on());
        self.out.extend(quote!(let (#s, #b) = #on.#name();));
        self.ended = Some("late_rows");
    }

    pub(super) fn bad_rows(&mut self, name: &Ident, tokens: &[TokenTree], source: bool) {
        self.seal();
        if let Some(first) = tokens.first() {
            self.cx.error(first.span(), "`bad_rows` takes nothing: write `bad_rows()`");
        }
        if !self.pair {
            self.cx.error(name.span(), "`bad_rows()` makes two streams: write `(good, bad) = .. -> bad_rows();`");
        }
        if !source {
            self.cx.error(name.span(), "`bad_rows` stands right behind a source, which finds what is not a row");
        }
        let (s, b, on) = (id("__s"), id("__b"), self.on());
        self.out.extend(quote!(let (#s, #b) = #on.#name();));
        // the first stream is the source's still
        self.known.source = source;
        self.ended = Some("bad_rows");
    }
}

/// What is wrong with a constant.
fn wrong_span(word: &Ident, value: &[TokenTree]) -> Option<(Span, &'static str)> {
    let (micros, at) = span_of_time(value)?;
    if word == "disorder" && micros < 0 {
        return Some((at, "rows cannot lag by a negative span"));
    }
    (word == "max_step" && micros <= 0).then_some((at, "a row must be able to move time: write a span greater than zero"))
}
