//! `aggregate`: the input side joins the run, the functions read its columns.

use super::*;

impl Build<'_> {
    pub(super) fn aggregate(&mut self, name: &Ident, tokens: &[TokenTree]) {
        let s = id("__s");
        let on = self.on();
        let shaped = closure(tokens).map(|c| (row_of(&c.body), c));
        let Some((Some(row), c)) = shaped else {
            let first = shaped.as_ref().and_then(|(_, c)| c.body.first()).or(tokens.first());
            let span = first.map_or(name.span(), TokenTree::span);
            let alive = match &shaped {
                Some((_, c)) => {
                    let (params, body) = (&c.params, stream(&c.body));
                    quote!(#s.filter(move |#(#params),*| { let _ = { #body }; true }))
                }
                None => stream(tokens),
            };
            let message = "`aggregate` makes a row of aggregates: `aggregate(|t| row { total: sum(t.amount), rows: count() })`";
            self.broken(span, message, &alive);
            return;
        };
        for span in &row.odd {
            self.cx.error(*span, "a column needs a name: write `column: sum(..)`");
        }
        for span in &row.joined {
            self.cx.error(*span, "expected `,` between the columns of a row");
        }
        if let Some(first) = row.name.first() {
            self.cx.error(
                first.span(),
                "the row of an `aggregate` has no name: write `row { .. }`, and name it with `select(|r| row Name { .. })` after it",
            );
        }
        self.check_panics(&c.body);
        let rows = row_params(&c, &[""]);
        let (params, m, k, cols) = (&c.params, id("__m"), id("__k"), id("__c"));
        let p = quote!(::sabot::__private);
        // the input side: one column per argument, computed in the run or passed on
        let (mut inputs, mut input_exprs, mut input_pass, mut metas, mut prelude) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), TokenStream::new());
        let (mut names, mut calls, mut users) = (Vec::new(), Vec::new(), Vec::new());
        let mut all_tokens = Vec::new();
        for (field, expr) in self.unique(&row) {
            let wrong = not_an_aggregate(&field, &expr);
            let call = call_of(&expr).filter(|_| wrong.is_none());
            let Some((path, args, TokenTree::Ident(function))) = call.and_then(|(path, args)| path.last().map(|f| (path, args, f))) else {
                let (span, message) = wrong.unwrap_or_else(|| (field.span(), format!("`{field}` needs an aggregate function")));
                let (e, inner) = (error_expr(span, &message), stream(&expr));
                // the column exists, with a type that nothing further is said about
                names.push(field.clone());
                calls.push(quote!({ #[cfg(rust_analyzer)] let _ = { #inner }; #e }));
                continue;
            };
            let user = function.to_string().starts_with(|ch: char| ch.is_uppercase());
            let inner = list(&args.stream());
            let pieces: Vec<&[TokenTree]> = split(&inner, ',').into_iter().filter(|x| !x.is_empty()).collect();
            let (pieces, constant, wrong) =
                if user || path.len() > 1 { (pieces, Vec::new(), None) } else { constants(function, &pieces, &rows) };
            all_tokens.extend(pieces.iter().flat_map(|piece| piece.iter().cloned()));
            let first = inputs.len();
            let question = pieces.iter().any(|e| Facts::of(e, &rows).question);
            let nested = id(&format!("__u{first}"));
            if user && !pieces.is_empty() {
                // rustc checks number and types of the arguments against `update` itself
                let given = args.stream();
                let (path, args) = (stream(path), quote_spanned!(args.span()=> (#given)));
                let call = quote!(#path::__inputs #args);
                let call = if question { quote!((|| ::core::option::Option::Some(#call))()) } else { call };
                prelude.extend(quote!(let #nested = #call;));
            }
            let mut reach = quote!();
            let mut columns = Vec::new();
            for piece in &pieces {
                let facts = Facts::of(piece, &rows);
                let column = id(&format!("__in{}", inputs.len()));
                let first = piece.first().map_or(field.span(), TokenTree::span);
                let passed = pass(piece, &rows).filter(|_| !(user && question));
                let value = if user {
                    let got = if question { quote!(#nested.map(|v| v #reach.0)) } else { quote!(#nested #reach.0) };
                    reach.extend(quote!(.1));
                    quote!(#p::col(#m, #got))
                } else {
                    cell(piece, facts.question, None, metas.len())
                };
                let meta_name = format!("__in{}", inputs.len());
                let facts = if user && question { Facts::of(&inner, &rows) } else { facts };
                metas.push(facts.meta(&meta_name, &text(piece), passed.as_deref()));
                input_pass.push(passed.is_none());
                input_exprs.push(value);
                inputs.push(Ident::new(&meta_name, Span::mixed_site()));
                columns.push(pointed(&cols, &quote!(#cols.#column), first));
            }
            let call = if user {
                let path = stream(path);
                users.push(path.clone());
                let args = columns.iter().rev().fold(quote!(()), |rest, col| quote!((#col, #rest)));
                quote!(#p::user::<#path, _>(#args))
            } else if path.len() == 1 {
                // without a key there is a result even if there is no row
                let global = self.known.keys.is_empty() && !self.known.windowed;
                let function = match function.to_string().as_str() {
                    "count" if !columns.is_empty() => Ident::new("count_of", function.span()),
                    name @ ("min" | "max" | "first" | "last" | "collect" | "any" | "all") if global => {
                        Ident::new(&format!("{name}_of_all"), function.span())
                    }
                    _ => function.clone(),
                };
                match wrong {
                    // the column exists, with a type that nothing further is said about
                    Some((span, message)) => {
                        let (e, constant) = (error_expr(span, &message), constant.iter().map(|c| stream(c)));
                        quote!({ #[cfg(rust_analyzer)] let _ = #p::agg::#function(#(#columns,)* #(#constant),*); #e })
                    }
                    None => {
                        let clones = self.cx.clones(&constant.concat());
                        let constant = constant.iter().map(|c| stream(c));
                        let call = quote!(#p::agg::#function(#(#columns,)* #(#constant),*));
                        if clones.is_empty() { call } else { quote!({ #clones #call }) }
                    }
                }
            } else {
                let path = stream(path);
                quote!(#path(#(#columns),*))
            };
            names.push(field.clone());
            calls.push(call);
        }
        if !inputs.is_empty() {
            let row_name = Ident::new(&format!("__{}_in", self.cx.row_name(&format_ident!("{}_in", self.label))), Span::call_site());
            let shape = Shape { name: &row_name, fields: &inputs, computed: &input_pass, named_columns: false };
            let (items, types) = row::layer(&shape);
            self.cx.items.extend(items);
            let literal = &types.literal;
            let clones = self.cx.clones(&all_tokens);
            let with = id("with");
            let call = quote!(#with(move |#(#params,)* #m| { #prelude #literal { #(#inputs: #input_exprs),* }.adds() }));
            self.row_wise(&call, &clones, "inputs", name, &metas);
        }
        self.seal();
        // whether rustc can tell that aggregates of the user's take rows back, where that is asked of them
        for path in users {
            self.out.extend(quote!(#p::folds::<#path, _, _, _, _, _>(#s);));
        }
        // the output: keys, window bounds, aggregates
        let mut fields = Vec::new();
        let mut values = Vec::new();
        for (i, key) in self.known.keys.iter().enumerate() {
            let i = syn::Index::from(i);
            fields.push(Ident::new(&key.to_string(), Span::call_site()));
            values.push(if self.known.windowed { quote!(#k.0.#i) } else { quote!(#k.#i) });
        }
        if self.known.windowed {
            for (i, bound) in ["window_start", "window_end"].iter().enumerate() {
                let i = syn::Index::from(i);
                fields.push(Ident::new(bound, Span::call_site()));
                values.push(quote!(#k.1.#i));
            }
        }
        let clash: Vec<&Ident> = names.iter().filter(|n| fields.contains(n)).collect();
        for n in &clash {
            self.cx.error(n.span(), &format!("column `{n}` appears twice in this row: the key columns and the window's bounds come first"));
        }
        let keys = fields.len();
        for (n, call) in names.iter().zip(&calls) {
            if !clash.contains(&n) {
                fields.push(n.clone());
                values.push(call.clone());
            }
        }
        let row_name = self.cx.row_name(&self.label.clone());
        let computed = vec![true; fields.len()];
        let shape = Shape { name: &row_name, fields: &fields, computed: &computed, named_columns: self.cx.maps };
        let (items, types) = row::record(&shape);
        self.cx.items.extend(items);
        self.cx.items.extend(row::aggregate_row(&shape, keys));
        let literal = Ident::new(&types.literal.to_string(), row.word.span().resolved_at(Span::call_site()));
        self.out.extend(quote!(let #s = #on.#name(|#k, #cols| #literal { #(#fields: #values),* });));
        self.known = Known { anonymous: true, ..Known::default() };
    }
}
