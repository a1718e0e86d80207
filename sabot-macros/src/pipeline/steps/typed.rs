//! Steps with code of their own: `keyed`, `batch`, `flat_map`.

use super::*;

impl Build<'_> {
    pub(super) fn keyed(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        let (s, m) = (id("__s"), id("__m"));
        let Some(c) = closure(tokens) else {
            self.cx.error(
                tokens.first().map_or(name.span(), TokenTree::span),
                "`keyed` takes a closure that calls a keyed operator: `keyed(|t| bursts(t.ts))`",
            );
            return;
        };
        self.check_panics(&c.body);
        let (column, call) = match row_of(&c.body) {
            Some(row) => match row.fields.as_slice() {
                [(n, e)] => (n.clone(), e.clone()),
                _ => {
                    self.cx.error(row.word.span(), "`keyed` makes one column: `keyed(|t| row { ema: ema(t.price) })`");
                    return;
                }
            },
            None => (Ident::new("value", Span::call_site()), c.body.clone()),
        };
        let Some((path, args)) = call.split_last().and_then(|(g, path)| group_of(Some(g), Delimiter::Parenthesis).map(|g| (path, g)))
        else {
            self.cx.error(call.first().map_or(name.span(), TokenTree::span), "`keyed` calls a keyed operator: `keyed(|t| bursts(t.ts))`");
            return;
        };
        let inner = list(&args.stream());
        let rows = row_params(&c, &[""]);
        let facts = Facts::of(&inner, &rows);
        let (question, reads) = (facts.question, facts.reads());
        let row_name = self.cx.row_name(&self.label.clone());
        let shape = Shape { name: &row_name, fields: std::slice::from_ref(&column), computed: &[true], named_columns: self.cx.maps };
        let (items, types) = row::layer(&shape);
        self.cx.items.extend(items);
        let p = quote!(::sabot::__private);
        let (marker, path_tokens, params, clones) = (&types.marker, stream(path), &c.params, self.cx.clones(&inner));
        let (state, ctx) = (id("__state"), id("__ctx"));
        let pieces: Vec<TokenStream> = split(&inner, ',').into_iter().filter(|x| !x.is_empty()).map(stream).collect();
        let args = quote_spanned!(args.span()=> (#state, #ctx, #(#pieces),*));
        let called = quote!(#path_tokens::__keyed #args);
        let called = if question { quote!((|| ::core::option::Option::Some(#called))().flatten()) } else { called };
        let reading = self.reading(&reads);
        let (operator, column_text) = (text(path), row::column_name(&column));
        let method = Ident::new("keyed", name.span());
        self.out.extend(quote! {
            let #s = { #clones #reading.#method::<#marker<_>, <#path_tokens as #p::KeyedItem>::State, _, _>(#operator, #column_text, move |#state, #ctx, #(#params,)* #m| {
                #called.map(|v| #p::sure(#m, v))
            }) };
        });
        self.known = Known { anonymous: true, ..Known::default() };
    }

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
