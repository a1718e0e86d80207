//! Steps over several streams or all rows: `union`, `sort`.

use super::*;

impl Build<'_> {
    /// A chain inside the arguments of a join or union.
    pub(super) fn nested(&mut self, tokens: &[TokenTree], span: Span) -> TokenStream {
        let chain = parse_chain(tokens, span);
        let label = self.label.clone();
        let (code, _) = self.cx.chain(&chain, &label, false);
        let s = id("__s");
        quote!(#code #s)
    }

    pub(super) fn union(&mut self, name: &Ident, tokens: &[TokenTree]) {
        if !self.with_others(name, tokens) {
            self.cx.error(name.span(), "`union` needs at least one other stream");
        }
        self.known = Known::default();
    }

    /// One call of the step `name` per stream in its arguments; `false` if there is none.
    pub(super) fn with_others(&mut self, name: &Ident, tokens: &[TokenTree]) -> bool {
        self.seal();
        let s = id("__s");
        let on = self.on();
        let mut any = false;
        for piece in split(tokens, ',') {
            if let Some(first) = piece.first() {
                let other = self.nested(piece, name.span());
                let other = quote_spanned!(first.span()=> { #other });
                self.out.extend(quote!(let #s = #on.#name(#other);));
                any = true;
            }
        }
        any
    }

    pub(super) fn sort(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        let (s, c) = (id("__s"), id("__c"));
        let on = self.on();
        let keys: Vec<TokenStream> = split(tokens, ',').into_iter().filter(|p| !p.is_empty()).map(|p| sort_key(p, &c)).collect();
        if keys.is_empty() {
            self.cx.error(name.span(), "`sort` needs at least one column: `sort(carrier, desc(delay))`");
            return;
        }
        self.out.extend(quote!(let #s = #on.#name(|#c| [#(#keys),*]);));
    }
}

/// `carrier`, `desc(delay)`, `nulls_first(desc(delay))`.
pub(super) fn sort_key(tokens: &[TokenTree], c: &Ident) -> TokenStream {
    let p = quote!(::sabot::__private);
    match tokens {
        [TokenTree::Ident(column)] => quote!(#p::asc(#c.#column)),
        [TokenTree::Ident(f), TokenTree::Group(g)] if g.delimiter() == Delimiter::Parenthesis => {
            let inner = list(&g.stream());
            match inner.as_slice() {
                [TokenTree::Ident(column)] if f == "nulls_first" => quote!(#p::#f(#p::asc(#c.#column))),
                [TokenTree::Ident(column)] => quote!(#p::#f(#c.#column)),
                other => {
                    let inner = sort_key(other, c);
                    quote!(#p::#f(#inner))
                }
            }
        }
        other => stream(other),
    }
}
