//! Steps that wait: `with(|t| row { place: geo(t.ip).await })`, `map(geo.await)`.
//!
//! Each awaited column is a step of its own, behind a `with` of the plain columns of the same row. All expressions of a row
//! see the row as it came, so a column that is awaited must not read one that the same row replaces.

use proc_macro2::Group;

use super::*;

impl Build<'_> {
    /// A step with `.await` somewhere in its arguments; `word` is the first one.
    pub(super) fn waits(&mut self, name: &Ident, tokens: &[TokenTree], word: Span) {
        let step = name.to_string();
        if cfg!(not(feature = "async")) {
            self.broken(
                word,
                "`.await` needs Sabot's feature `async`: write `sabot = { version = \"..\", features = [\"async\"] }` in Cargo.toml",
                &TokenStream::new(),
            );
            return;
        }
        match step.as_str() {
            "with" => self.with_awaited(name, tokens, word),
            "map" => self.map_awaited(name, tokens, word),
            "filter" => {
                let message = "`filter` cannot wait: compute a column with `with(|t| row { ok: check(t.ip).await })`, then filter by it";
                self.broken(word, message, &TokenStream::new());
            }
            _ => {
                let message = format!("`{step}` cannot wait: compute a column with `with(|t| row {{ place: geo(t.ip).await }})` before it");
                self.broken(word, &message, &TokenStream::new());
            }
        }
    }

    fn with_awaited(&mut self, name: &Ident, tokens: &[TokenTree], word: Span) {
        let nothing = TokenStream::new();
        let Some((c, row)) = closure(tokens).and_then(|c| row_of(&c.body).map(|row| (c, row))) else {
            self.broken(word, "what is awaited becomes a column: `with(|t| row { place: geo(t.ip).await })`", &nothing);
            return;
        };
        if let Some(first) = row.name.first() {
            self.broken(first.span(), "`with` adds columns to the row it gets, so its row has no name: write `row { .. }`", &nothing);
            return;
        }
        let rows = row_params(&c, &[""]);
        let (waiting, plain): (Vec<_>, Vec<_>) = self.unique(&row).into_iter().partition(|(_, e)| await_in(e).is_some());
        let mut replaced: Vec<String> = plain.iter().map(|(n, _)| n.to_string()).collect();
        for (column, expr) in &waiting {
            let call = awaited(expr).filter(|call| await_in(call).is_none());
            let called =
                call.and_then(<[TokenTree]>::split_last).filter(|(args, _)| group_of(Some(args), Delimiter::Parenthesis).is_some());
            if !called.is_some_and(|(_, path)| is_path(path)) {
                let span = await_in(expr).unwrap_or(word);
                let shown = column.to_string();
                let message = format!(
                    "a column waits for one call of an async operator, `{shown}: geo(t.ip).await`; compute with its result in a `with` behind this one"
                );
                self.broken(span, &message, &nothing);
                return;
            }
            let facts = Facts::of(expr, &rows);
            let clash = replaced.iter().find(|r| facts.reads.contains(*r));
            if let Some(clash) = clash.or_else(|| replaced.first().filter(|_| facts.all)) {
                let message = format!(
                    "this call would see `{clash}` as the same row sets it, not as it came: write the two columns in a `with` of their own each"
                );
                self.broken(column.span(), &message, &nothing);
                return;
            }
            replaced.push(column.to_string());
        }
        if !plain.is_empty() {
            self.columns(name, "with", &only(&c, &row, &plain), None);
        }
        for (i, (column, expr)) in waiting.iter().enumerate() {
            if i > 0 || !plain.is_empty() {
                self.go_on(column.span());
            }
            if let Some((TokenTree::Group(args), path)) = awaited(expr).and_then(<[TokenTree]>::split_last) {
                self.awaited(name, &c, column, path, args, &rows);
            }
        }
    }

    /// Ends the columns before another of the same row, at `place`.
    fn go_on(&mut self, place: Span) {
        let (s, p) = (id("__s"), id("__p"));
        let of = |name: &Ident| pointed(name, &quote!(#name), place);
        if self.known.two() {
            let part = of(&p);
            self.out.extend(quote!(let #s = #s.seal_certain(#part);));
        } else if self.known.waits {
            let call = of(&s);
            self.out.extend(quote!(let #s = ::sabot::__private::waited_certain(#call);));
        }
        (self.known.open, self.known.waits) = (false, false);
    }

    /// Ends a step that waits, where nothing is said of its errors.
    pub(super) fn settle(&mut self) {
        if self.known.waits {
            let s = id("__s");
            let call = pointed(&s, &quote!(#s), self.here);
            self.out.extend(quote!(let #s = ::sabot::__private::waited(#call);));
            (self.known.open, self.known.waits, self.handled) = (false, false, false);
        }
    }

    /// The stream ends in a call now.
    fn waiting(&mut self) {
        (self.known.open, self.known.waits, self.handled) = (true, true, false);
    }

    /// One awaited column.
    fn awaited(&mut self, name: &Ident, c: &Closure, column: &Ident, path: &[TokenTree], args: &Group, rows: &[RowParam]) {
        self.seal();
        let inner = list(&args.stream());
        self.check_panics(&inner);
        let facts = Facts::of(&inner, rows);
        let row_name = self.cx.row_name(&self.label.clone());
        let shape = Shape { name: &row_name, fields: std::slice::from_ref(column), computed: &[true], named_columns: self.cx.maps };
        let (items, types) = row::layer(&shape);
        self.cx.items.extend(items);
        let (p, s) = (quote!(::sabot::__private), id("__s"));
        let (marker, params, clones) = (&types.marker, &c.params, self.cx.clones(&inner));
        let (reading, operator, column_text) = (self.reading(&facts.reads()), text(path), row::column_name(column));
        let path = stream(path);
        // at the first token of the call: a result that no column can hold is an error there
        let first = Span::mixed_site().located_at(path.clone().into_iter().next().map_or_else(Span::mixed_site, |t| t.span()));
        let wrap = quote_spanned!(first=> ::sabot::__private::Awaited);
        let body = if facts.question {
            quote!(#wrap::optional((|| ::core::option::Option::Some(#path::__async #args))()))
        } else {
            quote!(#wrap::call(#path::__async #args))
        };
        let method = Ident::new("with_async", name.span().resolved_at(Span::mixed_site()));
        self.out.extend(quote! {
            let #s = { #clones #reading.#method::<#marker<_>, _, _>(#operator, #column_text, <#path as #p::AsyncItem>::OPTIONS, move |#(#params),*| #body) };
        });
        self.waiting();
    }

    /// `map(geo.await)`.
    fn map_awaited(&mut self, name: &Ident, tokens: &[TokenTree], word: Span) {
        let Some((path, column)) = awaited(tokens).filter(|p| is_path(p)).and_then(|p| match p.last() {
            Some(TokenTree::Ident(op)) => Some((p, Ident::new(&op.to_string(), op.span()))),
            _ => None,
        }) else {
            let message =
                "`map` takes the name of an operator: `map(geo.await)`; for a call use `with(|t| row { place: geo(t.ip).await })`";
            self.broken(word, message, &TokenStream::new());
            return;
        };
        self.seal();
        let row_name = self.cx.row_name(&self.label.clone());
        let shape = Shape { name: &row_name, fields: std::slice::from_ref(&column), computed: &[true], named_columns: true };
        let (items, types) = row::layer(&shape);
        self.cx.items.extend(items);
        let (p, s, t, marker) = (quote!(::sabot::__private), id("__s"), id("__t"), &types.marker);
        let (operator, column_text) = (text(path), row::column_name(&column));
        let path = stream(path);
        let reads = quote!(::core::option::Option::Some(&<#path as #p::OperatorItem>::ENTRY.inputs.iter().map(|i| i.name).collect::<::std::vec::Vec<_>>()));
        let reading = self.reading(&reads);
        let method = Ident::new("with_async", name.span().resolved_at(Span::mixed_site()));
        self.out.extend(quote! {
            let #s = #reading.#method::<#marker<_>, _, _>(#operator, #column_text, <#path as #p::AsyncItem>::OPTIONS, move |#t| <#path as #p::AsyncMap<_, _, _>>::call(#t));
        });
        self.waiting();
    }
}

/// `geo`, `net::geo`.
fn is_path(tokens: &[TokenTree]) -> bool {
    !tokens.is_empty() && tokens.iter().all(|t| matches!(t, TokenTree::Ident(_)) || is_punct(Some(t), ':'))
}

/// The closure with some of its row's columns.
fn only(c: &Closure, row: &Row, fields: &[(Ident, Vec<TokenTree>)]) -> Vec<TokenTree> {
    let (params, word) = (&c.params, &row.word);
    let fields = fields.iter().map(|(name, expr)| {
        let expr = stream(expr);
        quote!(#name: #expr)
    });
    list(&quote!(|#(#params),*| #word { #(#fields),* }))
}
