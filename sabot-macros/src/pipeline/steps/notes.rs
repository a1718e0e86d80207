//! Steps that only describe the stream: `key_by`, `event_time`, `window`.

use super::*;

impl Build<'_> {
    pub(super) fn key_by(&mut self, name: &Ident, tokens: &[TokenTree]) {
        let (s, c) = (id("__s"), id("__c"));
        let on = self.on();
        let mut keys = Vec::new();
        let mut wrong: Option<(Span, String)> = None;
        for piece in split(tokens, ',') {
            match piece {
                [] => {}
                [TokenTree::Ident(column)] => keys.push(column.clone()),
                [first, ..] => {
                    let meant = key_columns(piece);
                    let names: Vec<String> = meant.iter().map(ToString::to_string).collect();
                    let message = if names.is_empty() {
                        "`key_by` takes column names: `key_by(carrier, origin)`; compute other keys with `with(|t| row { .. })` first"
                            .into()
                    } else {
                        format!("`key_by` takes column names: write `key_by({})`", names.join(", "))
                    };
                    if meant.is_empty() && wrong.is_none() {
                        wrong = Some((first.span(), message));
                    } else {
                        self.cx.error(first.span(), &message);
                    }
                    keys.extend(meant);
                }
            }
        }
        let columns: Vec<TokenStream> = keys
            .iter()
            .map(|column| {
                let value = pointed(&c, &quote!(#c.#column), column.span());
                quote!(::sabot::__private::key(#value))
            })
            .collect();
        if let Some((span, message)) = wrong {
            let inner = stream(tokens);
            self.broken(span, &message, &quote!(#inner));
            return;
        }
        let columns = if columns.is_empty() {
            // as far as the name, the same as with one: the editor compares
            let e = error_expr(name.span(), "`key_by` needs at least one column: `key_by(carrier)`");
            let value = pointed(&c, &quote!(#c; #e), name.span());
            vec![quote!(::sabot::__private::key(#value))]
        } else {
            columns
        };
        let body = if let [one] = columns.as_slice() { one.clone() } else { quote!((#(#columns),*)) };
        self.notes.extend(quote!(let #s = #on.#name(|#c| #body);));
        self.known.keys = keys;
        self.known.windowed = false;
    }

    pub(super) fn event_time(&mut self, name: &Ident, tokens: &[TokenTree]) {
        let s = id("__s");
        let on = self.on();
        match tokens {
            [TokenTree::Ident(column)] => {
                let c = id("__c");
                let value = pointed(&c, &quote!(#c.#column), column.span());
                self.notes.extend(quote!(let #s = #on.#name(|#c| #value);));
            }
            _ => self.cx.error(tokens.first().map_or(name.span(), TokenTree::span), "`event_time` takes one column name: `event_time(ts)`"),
        }
    }

    pub(super) fn window(&mut self, name: &Ident, tokens: &[TokenTree]) {
        let (s, clones, on) = (id("__s"), self.cx.clones(tokens), self.on());
        let pieces: Vec<&[TokenTree]> = split(tokens, ',').into_iter().filter(|p| !p.is_empty()).collect();
        let (tokens, words) = pieces.split_first().map_or((tokens, &[][..]), |(first, words)| (*first, words));
        let sent = self.sent(tokens, words);
        let first = stream(tokens);
        let inner = quote!(#first #sent);
        let wrong = wrong_window(name.span(), tokens);
        // said once, in our words: rustc sees windows that are none
        let windows = match wrong.split_last() {
            None => inner,
            Some(((span, message), others)) => {
                for (span, message) in others {
                    self.cx.error(*span, message);
                }
                let e = error_expr(*span, message);
                quote!({ #[cfg(rust_analyzer)] let _ = { #inner }; #e })
            }
        };
        self.notes.extend(quote!(let #s = { #clones #on.#name(#windows) };));
        self.known.windowed = !is_ident(tokens.first(), "global");
    }
}
