//! Steps over the rows of a key in an order: `top`, `over`; and `reduce`.

use super::many::sort_key;
use super::*;

/// The functions of `over`, and whether each says something of a place in the order.
const FUNCTIONS: &[(&str, bool)] = &[
    ("rank", true),
    ("dense_rank", true),
    ("row_number", true),
    ("percent_rank", true),
    ("lag", true),
    ("lead", true),
    ("sum", false),
    ("count", false),
    ("min", false),
    ("max", false),
    ("mean", false),
];
const OVER: &str = "over(ts, |t| row { place: rank(), before: lag(t.price), total: sum(t.price) })";

impl Build<'_> {
    /// `top(10, desc(price), symbol)`.
    pub(super) fn top(&mut self, name: &Ident, tokens: &[TokenTree]) {
        self.seal();
        let (s, c) = (id("__s"), id("__c"));
        let on = self.on();
        let mut pieces = split(tokens, ',').into_iter().filter(|p| !p.is_empty());
        let Some(rows) = pieces.next() else {
            self.cx.error(name.span(), &format!("`{name}` takes a number of rows and an order: `{name}(10, desc(price))`"));
            return;
        };
        let by: Vec<TokenStream> = pieces.map(|p| sort_key(p, &c)).collect();
        let ordering = matches!(rows, [TokenTree::Ident(f), TokenTree::Group(_)] if ["desc", "asc", "nulls_first"].iter().any(|w| f == w));
        if ordering {
            let message = format!("`{name}` takes the number of rows first: `{name}(10, {})`", text(rows));
            self.cx.error(rows.first().map_or(name.span(), TokenTree::span), &message);
            return;
        }
        if by.is_empty() {
            let message = format!(
                "`{name}` needs an order: `{name}({}, desc(price))`; for the first rows in source order use `limit({0})`",
                text(rows)
            );
            self.cx.error(name.span(), &message);
            return;
        }
        let (clones, rows) = (self.cx.clones(rows), stream(rows));
        self.out.extend(quote!(let #s = { #clones #on.#name(#rows, |#c| [#(#by),*]) };));
    }

    /// `reduce(|a, b| ..)`.
    pub(super) fn reduce(&mut self, name: &Ident, tokens: &[TokenTree]) {
        let anonymous = self.known.anonymous;
        let Some(first) = tokens.first() else {
            self.seal();
            self.cx.error(
                name.span(),
                &format!("`{name}` takes a function of two rows: `{name}(|a, b| if b.price > a.price {{ b }} else {{ a }})`"),
            );
            return;
        };
        if anonymous {
            let message =
                format!("`{name}` takes rows of a named record, but these have no name; name them first: `select(|t| row Trade {{ .. }})`");
            self.broken(name.span(), &message, &TokenStream::new());
            return;
        }
        self.seal();
        let c = closure(tokens);
        if let Some(c) = &c {
            self.check_panics(&c.body);
        }
        if let Some(c) = c.filter(|c| c.params.len() != 2) {
            let message = format!("`{name}` takes a function of two rows, the one so far and the next: `{name}(|a, b| ..)`");
            let (params, body) = (&c.params, stream(&c.body));
            let s = id("__s");
            self.broken(first.span(), &message, &quote!(#s.filter(move |#(#params),*| { let _ = { #body }; true })));
            return;
        }
        let (s, on, clones, inner) = (id("__s"), self.on(), self.cx.clones(tokens), stream(tokens));
        self.out.extend(quote!(let #s = { #clones #on.#name(#inner) };));
    }

    /// `over(ts, desc(price), |t| row { .. })`.
    pub(super) fn over(&mut self, name: &Ident, tokens: &[TokenTree]) {
        let (s, c, m, base) = (id("__s"), id("__c"), id("__m"), id("__base"));
        self.settle();
        let p = quote!(::sabot::__private);
        let pieces: Vec<&[TokenTree]> = split(tokens, ',').into_iter().filter(|p| !p.is_empty()).collect();
        let made = pieces.iter().position(|p| closure(p).is_some());
        let shaped = made.and_then(|at| pieces.get(at)).and_then(|p| closure(p)).map(|c| (row_of(&c.body), c));
        let Some((Some(row), closed)) = shaped else {
            let first = shaped.as_ref().and_then(|(_, c)| c.body.first()).map_or(name.span(), TokenTree::span);
            let alive = match &shaped {
                Some((_, c)) => {
                    let (params, body) = (&c.params, stream(&c.body));
                    quote!(#s.filter(move |#(#params),*| { let _ = { #body }; true }))
                }
                None => TokenStream::new(),
            };
            self.broken(first, &format!("`{name}` takes an order and a closure that makes a row of window functions: `{OVER}`"), &alive);
            return;
        };
        let by: Vec<TokenStream> = pieces.iter().take(made.unwrap_or(0)).map(|piece| sort_key(piece, &c)).collect();
        if let Some(first) = pieces.get(made.map_or(0, |m| m + 1)).and_then(|p| p.first()) {
            self.cx.error(first.span(), &format!("`{name}` takes its order before the closure: `{OVER}`"));
        }
        for span in &row.odd {
            self.cx.error(*span, "a column needs a name: write `column: rank()`");
        }
        for span in &row.joined {
            self.cx.error(*span, "expected `,` between the columns of a row");
        }
        if let Some(first) = row.name.first() {
            self.cx.error(first.span(), &format!("`{name}` adds columns to the row it gets, so its row has no name: write `row {{ .. }}`"));
        }
        self.check_panics(&closed.body);
        let rows = row_params(&closed, &[""]);
        let (mut inputs, mut values, mut passes, mut metas) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut names, mut calls, mut read, mut other) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (field, expr) in self.unique(&row) {
            names.push(field.clone());
            let (function, args) = match function_of(&field, &expr, !by.is_empty()) {
                Ok(found) => found,
                Err((span, message)) => {
                    let (e, inner) = (error_expr(span, &message), stream(&expr));
                    calls.push(quote!({ #[cfg(rust_analyzer)] let _ = { #inner }; #e }));
                    continue;
                }
            };
            let inner = list(&args.stream());
            let given: Vec<&[TokenTree]> = split(&inner, ',').into_iter().filter(|x| !x.is_empty()).collect();
            let neighbour = function == "lag" || function == "lead";
            let at_most = if neighbour { 2 } else { 1 };
            let mut columns = Vec::new();
            for piece in given.iter().take(1) {
                let facts = Facts::of(piece, &rows);
                let column = format!("__in{}", inputs.len());
                let passed = pass(piece, &rows).filter(|_| !neighbour);
                // a neighbour may be missing, so its column is nullable
                values.push(cell(piece, neighbour || facts.question, None, metas.len()));
                metas.push(facts.meta(&column, &text(piece), passed.as_deref()));
                passes.push(passed.is_none());
                read.extend(piece.iter().cloned());
                let column = Ident::new(&column, Span::mixed_site());
                let first = piece.first().map_or(field.span(), TokenTree::span);
                columns.push(pointed(&c, &quote!(#c.#column), first));
                inputs.push(column);
            }
            if let Some(first) = given.get(at_most).and_then(|piece| piece.first()) {
                self.cx.error(
                    first.span(),
                    &format!("`{function}` takes no more than {at_most} argument{}", if at_most == 1 { "" } else { "s" }),
                );
            }
            if neighbour {
                let offset = match given.get(1) {
                    Some(piece) => {
                        let zero = matches!(piece, [TokenTree::Literal(l)] if l.to_string().trim_start_matches(['0', '_']).trim_start_matches("u64").is_empty());
                        if let Some(first) = piece.first().filter(|_| zero || is_punct(piece.first(), '-')) {
                            let other = if function == "lag" { "lead" } else { "lag" };
                            let message = if zero {
                                format!("`{function}` looks at least one row away: write an offset of 1 or more, or the column itself")
                            } else {
                                format!("an offset is 1 or more: to look the other way use `{other}`")
                            };
                            self.cx.error(first.span(), &message);
                            quote!(1)
                        } else {
                            other.extend(piece.iter().cloned());
                            stream(piece)
                        }
                    }
                    None => quote!(1),
                };
                columns.push(offset);
            }
            let function = if function == "count" && !columns.is_empty() { Ident::new("count_of", function.span()) } else { function };
            calls.push(quote!(#p::over::#function(#(#columns),*)));
        }
        if inputs.is_empty() {
            self.seal();
            self.out.extend(quote!(let #base = #s;));
        } else {
            self.out.extend(quote!(let #base = #s;));
            let row_name = Ident::new(&format!("__{}_in", self.cx.row_name(&format_ident!("{}_in", self.label))), Span::call_site());
            let shape = Shape { name: &row_name, fields: &inputs, computed: &passes, named_columns: false };
            let (items, types) = row::layer(&shape);
            self.cx.items.extend(items);
            let (literal, params) = (&types.literal, &closed.params);
            let clones = self.cx.clones(&read);
            let with = id("with");
            let call = quote!(#with(move |#(#params,)* #m| #literal { #(#inputs: #values),* }.adds()));
            self.row_wise(&call, &clones, "inputs", name, &metas);
            self.seal();
        }
        let row_name = self.cx.row_name(&self.label.clone());
        let computed = vec![true; names.len()];
        let shape = Shape { name: &row_name, fields: &names, computed: &computed, named_columns: self.cx.maps };
        let (items, types) = row::layer(&shape);
        self.cx.items.extend(items);
        self.cx.items.extend(row::over_row(&shape));
        let literal = Ident::new(&types.literal.to_string(), row.word.span().resolved_at(Span::call_site()));
        let on = self.on();
        let clones = self.cx.clones(&other);
        self.out.extend(quote!(let #s = { #clones #on.#name(#base, |#c| [#(#by),*], |#c| #literal { #(#names: #calls),* }) };));
        self.known.anonymous = true;
    }
}

/// The function that makes a column of `over`, and its arguments; or what is wrong with it, and where.
fn function_of<'a>(field: &Ident, expr: &'a [TokenTree], ordered: bool) -> Result<(Ident, &'a proc_macro2::Group), (Span, String)> {
    let first = expr.first().map_or_else(|| field.span(), TokenTree::span);
    let all = "`rank()`, `dense_rank()`, `row_number()`, `percent_rank()`, `lag(..)`, `lead(..)`, `sum(..)`, `count()`, `min(..)`, `max(..)` or `mean(..)`";
    let (Some(TokenTree::Ident(function)), Some(args)) = (expr.first(), group_of(expr.get(1), Delimiter::Parenthesis)) else {
        return Err((first, format!("`{field}` needs a window function: {all}")));
    };
    let word = function.to_string();
    let Some((_, placed)) = FUNCTIONS.iter().find(|(name, _)| *name == word) else {
        let message = match similar(&word, FUNCTIONS.iter().map(|(name, _)| *name)) {
            Some(near) => format!("there is no window function `{word}`; did you mean `{near}`?"),
            None => format!("`{word}` is not a window function: use {all}"),
        };
        return Err((function.span(), message));
    };
    if let Some(next) = expr.get(2) {
        let message = format!(
            "a window function stands alone in its column: compute with its result in a step behind, `with(|t| row {{ {field}: t.{field} .. }})`"
        );
        return Err((next.span(), message));
    }
    if *placed && !ordered {
        return Err((function.span(), format!("`{word}` needs an order: name the columns before the closure, `over(ts, |t| ..)`")));
    }
    let empty = args.stream().is_empty();
    match word.as_str() {
        "rank" | "dense_rank" | "row_number" | "percent_rank" if !empty => {
            let at = args.stream().into_iter().next().map_or(function.span(), |t| t.span());
            Err((at, format!("`{word}` takes no argument: it goes by the order of `over`")))
        }
        "lag" | "lead" | "sum" | "min" | "max" | "mean" if empty => {
            Err((function.span(), format!("`{word}` needs a column: `{word}(t.price)`")))
        }
        _ => Ok((function.clone(), args)),
    }
}
