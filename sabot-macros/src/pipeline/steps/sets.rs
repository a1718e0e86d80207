//! Steps over sets of rows: `distinct`, `intersect`, `except`, `sample`.

use super::*;

impl Build<'_> {
    /// `distinct()`, `distinct(user, page)`.
    pub(super) fn distinct(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        let (s, c) = (id("__s"), id("__c"));
        let on = self.on();
        let mut columns = Vec::new();
        for piece in split(tokens, ',') {
            match piece {
                [] => {}
                [TokenTree::Ident(column)] => columns.push(column.clone()),
                [first, ..] => {
                    let meant = key_columns(piece);
                    let names: Vec<String> = meant.iter().map(ToString::to_string).collect();
                    let message = if names.is_empty() {
                        format!(
                            "`{name}` takes column names: `{name}(user, page)`; compute other columns with `with(|t| row {{ .. }})` first"
                        )
                    } else {
                        format!("`{name}` takes column names: write `{name}({})`", names.join(", "))
                    };
                    self.cx.error(first.span(), &message);
                    columns.extend(meant);
                }
            }
        }
        if columns.is_empty() {
            self.out.extend(quote!(let #s = #on.#name();));
            return;
        }
        let columns = columns.iter().map(|column| {
            let value = pointed(&c, &quote!(#c.#column), column.span());
            quote!(::sabot::__private::compared(#value))
        });
        let method = Ident::new("distinct_on", name.span());
        self.out.extend(quote!(let #s = #on.#method(|#c| [#(#columns),*]);));
    }

    /// `intersect(other)`, `except(other -> filter(..))`.
    pub(super) fn set(&mut self, name: &Ident, tokens: &[TokenTree]) {
        if !self.with_others(name, tokens) {
            self.cx.error(name.span(), &format!("`{name}` needs another stream: `{name}(other)`"));
        }
        self.known.keys.clear();
        self.known.windowed = false;
    }

    /// `sample(0.1)`, `sample(0.1, seed = 7)`.
    pub(super) fn sample(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        let s = id("__s");
        let on = self.on();
        let clones = self.cx.clones(tokens);
        let pieces: Vec<&[TokenTree]> = split(tokens, ',').into_iter().filter(|p| !p.is_empty()).collect();
        let Some(fraction) = pieces.first() else {
            self.cx.error(name.span(), &format!("`{name}` takes the part of the rows to keep: `{name}(0.1)`"));
            return;
        };
        let literal: String = fraction.iter().map(ToString::to_string).collect::<String>().replace('_', "");
        let number = literal.trim_end_matches("f64");
        if let (Ok(value), Some(first)) = (number.parse::<f64>(), fraction.first())
            && !(0.0..=1.0).contains(&value)
        {
            let hint = if value > 1.0 && value <= 100.0 { format!("; {value} percent is `{}`", value / 100.0) } else { String::new() };
            self.cx.error(first.span(), &format!("`{name}` keeps a part of the rows, from 0 to 1, not {value}{hint}"));
        }
        let fraction = match (number.parse::<u64>(), fraction) {
            // an integer literal is meant as a float
            (Ok(whole), [one]) => {
                let mut float = proc_macro2::Literal::f64_suffixed(whole as f64);
                float.set_span(one.span());
                quote!(#float)
            }
            _ => stream(fraction),
        };
        let mut seed = quote!(0);
        for piece in pieces.iter().skip(1) {
            match piece {
                [TokenTree::Ident(word), eq, value @ ..] if word == "seed" && is_punct(Some(eq), '=') && !value.is_empty() => {
                    seed = stream(value)
                }
                [first, ..] => self.cx.error(first.span(), &format!("`{name}` takes a part and a seed: `{name}(0.1, seed = 7)`")),
                [] => {}
            }
        }
        self.out.extend(quote!(let #s = { #clones #on.#name(#fraction, #seed) };));
    }
}
