//! Steps with code of their own: `batch`, `flat_map`.

use super::*;

impl Build<'_> {
    pub(super) fn batch(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        let s = id("__s");
        let on = self.on();
        let path = tokens.iter().all(|t| matches!(t, TokenTree::Ident(_)) || is_punct(Some(t), ':'));
        let Some(TokenTree::Ident(op)) = tokens.last().filter(|_| path) else {
            self.cx
                .error(tokens.first().map_or(name.span(), TokenTree::span), "`batch` takes the name of a batch operator: `batch(z_score)`");
            return;
        };
        let row_name = self.cx.row_name(&self.label.clone());
        let column = Ident::new(&op.to_string(), op.span());
        let shape = Shape { name: &row_name, fields: std::slice::from_ref(&column), computed: &[true], named_columns: self.cx.maps };
        let (items, types) = row::layer(&shape);
        self.cx.items.extend(items);
        let (marker, path) = (&types.marker, stream(tokens));
        self.out.extend(quote!(let #s = #on.#name::<#marker<_>, _, #path>();));
        self.known.anonymous = true;
    }

    pub(super) fn flat_map(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        let s = id("__s");
        let Some(c) = closure(tokens) else {
            let (on, inner) = (self.on(), stream(tokens));
            self.out.extend(quote!(let #s = #on.#name("", #inner);));
            return;
        };
        self.check_panics(&c.body);
        let facts = Facts::of(&c.body, &row_params(&c, &[""]));
        let (question, reads) = (facts.question, facts.reads());
        let (params, body, clones, shown) = (&c.params, stream(&c.body), self.cx.clones(&c.body), text(&c.body));
        let iter = if question {
            quote!((|| ::core::option::Option::Some(#body))().into_iter().flatten())
        } else {
            quote!(::core::iter::IntoIterator::into_iter(#body))
        };
        let reading = self.reading(&reads);
        self.out.extend(quote!(let #s = { #clones #reading.#name(#shown, move |#(#params),*| ::std::boxed::Box::new(#iter)) };));
        self.known = Known::default();
    }
}
