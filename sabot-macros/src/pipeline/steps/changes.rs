//! Streams whose rows are taken back: `changelog`.

use super::*;
use crate::pipeline::recover::span_of_time;

/// The column that `changelog` adds.
const WEIGHT: &str = "weight";

/// What `window` takes behind its windows.
const WORDS: &[&str] = &["on_update", "on_close", "every", "lateness"];
const EXAMPLE: &str = "`window(tumbling(1.hour()), on_update)`, `window(tumbling(1.hour()), every = 10.sec())` or `window(tumbling(1.hour()), lateness = 1.minute())`";

impl Build<'_> {
    /// When results of windows are sent: the words behind the windows, as calls of their methods.
    pub(super) fn sent(&mut self, windows: &[TokenTree], words: &[&[TokenTree]]) -> TokenStream {
        let mut out = TokenStream::new();
        let mut when: Option<String> = None;
        if let (Some(first), true) = (words.first().and_then(|w| w.first()), is_ident(windows.first(), "global")) {
            self.cx.error(first.span(), "`global(on_update)` is all: there is no window that could be over or take late rows");
            return out;
        }
        if let (Some(first), true) = (words.first().and_then(|w| w.first()), is_ident(windows.first(), "session")) {
            self.cx.error(first.span(), "sessions are sent once, when they are over: leave out when else");
            return out;
        }
        for piece in words {
            let [TokenTree::Ident(word), rest @ ..] = piece else {
                let span = piece.first().map_or_else(Span::mixed_site, TokenTree::span);
                self.cx.error(span, &format!("behind its windows `window` takes when their results are sent: {EXAMPLE}"));
                continue;
            };
            let name = word.to_string();
            let value = rest.split_first().filter(|(eq, value)| is_punct(Some(eq), '=') && !value.is_empty()).map(|(_, value)| value);
            if name != "lateness" && WORDS.contains(&name.as_str()) {
                if let Some(other) = &when {
                    self.cx.error(word.span(), &format!("results are sent `{other}` already: choose one"));
                }
                when = Some(name.clone());
            }
            match (name.as_str(), rest.is_empty(), value) {
                ("on_close", true, _) => {}
                ("on_update", true, _) => out.extend(quote!(.#word())),
                ("every" | "lateness", _, Some(value)) => {
                    let least = i128::from(name == "every");
                    if let Some((micros, at)) = span_of_time(value)
                        && micros < least
                    {
                        let message = if least > 0 {
                            "results are sent every so often: write a span greater than zero"
                        } else {
                            "rows cannot be late by a negative span"
                        };
                        self.cx.error(at, message);
                    }
                    let value = stream(value);
                    out.extend(quote!(.#word(#value)));
                }
                ("every", ..) => self.cx.error(word.span(), "`every` takes a span of time: `every = 10.sec()`"),
                ("lateness", ..) => self.cx.error(word.span(), "`lateness` takes a span of time: `lateness = 1.minute()`"),
                ("on_update" | "on_close", ..) => self.cx.error(word.span(), &format!("`{name}` stands alone: {EXAMPLE}")),
                _ => {
                    let message = match similar(&name, WORDS.iter().copied()) {
                        Some(near) => format!("results are not sent `{name}`; did you mean `{near}`?"),
                        None => format!("results are not sent `{name}`; write {EXAMPLE}"),
                    };
                    self.cx.error(word.span(), &message);
                }
            }
        }
        out
    }
    /// `changelog()`.
    pub(super) fn changelog(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        if let Some(first) = tokens.first() {
            self.cx.error(first.span(), "`changelog` takes nothing: it adds the column `weight`, 1 or -1");
        }
        let (s, on) = (id("__s"), self.on());
        let row_name = self.cx.row_name(&self.label.clone());
        let column = Ident::new(WEIGHT, Span::call_site());
        let shape = Shape { name: &row_name, fields: std::slice::from_ref(&column), computed: &[true], named_columns: self.cx.maps };
        let (items, types) = row::layer(&shape);
        self.cx.items.extend(items);
        let marker = &types.marker;
        self.out.extend(quote!(let #s = #on.#name::<#marker<_>>();));
        self.known = Known { anonymous: true, ..Known::default() };
    }
}
