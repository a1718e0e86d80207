//! The row-wise steps: `filter`, `inspect`, `with`, `select`, `map`.

use super::*;
use crate::pipeline::simple::simple;

impl Build<'_> {
    pub(super) fn filter(&mut self, name: &Ident, tokens: &[TokenTree], span: Span) {
        let Some(c) = closure(tokens) else {
            let inner = stream(tokens);
            if !may_be_function(tokens) {
                let first = tokens.first().map_or(name.span(), TokenTree::span);
                let shown = if tokens.is_empty() { "t.column > 0".to_owned() } else { text(tokens) };
                self.cx.error(first, &format!("`{name}` takes a closure: `{name}(|t| {shown})`, where `t.column` is a value of the row"));
                let s = id("__s");
                self.out.extend(quote!(#[cfg(rust_analyzer)] let _ = { let _ = #s; #inner };));
                return;
            }
            let call = quote_spanned!(span=> (#inner));
            let clones = self.cx.clones(tokens);
            let blind = blind_meta("", &text(tokens));
            self.row_wise(&quote!(#name #call), &clones, "filter", name, &[blind]);
            return;
        };
        self.check_panics(&c.body);
        let rows = row_params(&c, &[""]);
        let mut facts = Facts::of(&c.body, &rows);
        if let [row] = rows.as_slice() {
            facts.simple = Some(simple(&c.body, row, &self.cx.primitives, &self.cx.pipeline));
        }
        let (params, body) = (&c.params, stream(&c.body));
        let judged = quote!(::sabot::__private::judged(#body));
        let body = if facts.question { quote!(::sabot::__private::OrNull((|| ::core::option::Option::Some(#judged))())) } else { judged };
        let clones = self.cx.clones(&c.body);
        let meta = facts.meta("", &text(&c.body), None);
        self.row_wise(&quote!(#name(move |#(#params),*| #body)), &clones, "filter", name, &[meta]);
    }

    pub(super) fn inspect(&mut self, name: &Ident, tokens: &[TokenTree]) {
        let clones = self.cx.clones(tokens);
        let inner = stream(tokens);
        let call = match closure(tokens) {
            Some(c) => {
                let (params, body) = (&c.params, stream(&c.body));
                quote!(#name(move |#(#params),*| { #body; }))
            }
            None => quote!(#name(#inner)),
        };
        let blind = blind_meta("", &text(tokens));
        self.row_wise(&call, &clones, "inspect", name, &[blind]);
    }

    /// `with` and `select`, also after a join (`rows` are then the two sides).
    pub(super) fn columns(&mut self, name: &Ident, word: &str, tokens: &[TokenTree], joined: Option<&Joined>) {
        let clones = self.cx.clones(tokens);
        let Some(c) = closure(tokens) else {
            let inner = stream(tokens);
            let first = tokens.first().map_or(name.span(), TokenTree::span);
            let message = format!("`{name}` takes a closure that makes a row: `{name}(|t| row {{ .. }})`");
            self.broken(first, &message, &quote!(#clones #inner));
            return;
        };
        self.check_panics(&c.body);
        let rows = row_params(&c, joined.map_or(&[""], |_| &["left.", "right.", ""]));
        let m = id("__m");
        let prelude = joined.map(|j| j.prelude(&c)).unwrap_or_default();
        let params = if joined.is_some() { vec![quote!(__pair)] } else { c.params.clone() };
        let Some(row) = row_of(&c.body) else {
            let first = c.body.first().map_or(name.span(), TokenTree::span);
            let body = stream(&c.body);
            let shown = if c.body.is_empty() { "row { column: expression }".to_owned() } else { row_for(&c.body, &rows) };
            let param = c.names.first().and_then(Option::as_ref).map_or_else(|| "t".to_owned(), ToString::to_string);
            let message = match joined {
                Some(_) => format!("`{name}` makes a row: write `|l, r| {shown}`"),
                None => format!("`{name}` makes a row: write `{name}(|{param}| {shown})`"),
            };
            // keep the closure alive for the editor: its parameter is typed by a predicate's signature
            let s = id("__s");
            self.broken(first, &message, &quote!(#clones #s.filter(move |#(#params),*| { #prelude let _ = { #body }; true })));
            return;
        };
        for span in &row.odd {
            self.cx.error(*span, "a column needs a name: write `column: expression`");
        }
        for span in &row.joined {
            self.cx.error(*span, "expected `,` between the columns of a row");
        }
        if !row.name.is_empty() {
            self.named(name, word, &c, &row, &rows, &prelude, &params, &clones);
            return;
        }
        let fields = self.unique(&row);
        let passes: Vec<Option<String>> = fields.iter().map(|(_, e)| pass(e, &rows)).collect();
        let computed: Vec<bool> = passes.iter().map(Option::is_none).collect();
        let names: Vec<Ident> = fields.iter().map(|(n, _)| n.clone()).collect();
        let row_name = self.cx.row_name(&self.label.clone());
        let shape = Shape { name: &row_name, fields: &names, computed: &computed, named_columns: self.cx.maps };
        let (items, types) = if word == "with" { row::layer(&shape) } else { row::record(&shape) };
        self.cx.items.extend(items);
        let mut bit = 0u32;
        let (mut values, mut metas) = (Vec::new(), Vec::new());
        for ((field, expr), pass) in fields.iter().zip(&passes) {
            let facts = Facts::of(expr, &rows);
            values.push(cell(expr, facts.question, pass.is_none().then_some(bit), metas.len()));
            if pass.is_none() {
                bit += 1;
            }
            metas.push(facts.meta(&row::column_name(field), &text(expr), pass.as_deref()));
        }
        let literal = Ident::new(&types.literal.to_string(), row.word.span().resolved_at(Span::call_site()));
        let finish = if word == "with" { id("adds") } else { id("made") };
        let join = name.to_string();
        let step = if joined.is_some() { &join } else { word };
        let method = if joined.is_some() { id("select") } else { name.clone() };
        let call = quote!(#method(move |#(#params,)* #m| { #prelude #literal { #(#names: #values),* }.#finish() }));
        self.row_wise(&call, &clones, step, name, &metas);
        self.known.anonymous = true;
        if word == "select" {
            self.known.keys.clear();
            self.known.windowed = false;
        }
    }

    /// `select(|t| row Alert { .. })`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn named(
        &mut self,
        name: &Ident,
        word: &str,
        _c: &Closure,
        row: &Row,
        rows: &[RowParam],
        prelude: &TokenStream,
        params: &[TokenStream],
        clones: &TokenStream,
    ) {
        if word == "with" {
            let span = row.name.first().map_or(row.word.span(), TokenTree::span);
            self.cx.error(span, "`with` adds columns to the row it gets, so its row has no name: write `row { .. }`, or use `select`");
        }
        let m = id("__m");
        let fields = self.unique(row);
        let (mut names, mut values, mut metas, mut kinds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (field, expr) in &fields {
            let facts = Facts::of(expr, rows);
            let value = cell(expr, facts.question, None, metas.len());
            let kind = id(&format!("__k{}", metas.len()));
            names.push(field.clone());
            // from the first token of the expression to its last
            let last = Span::mixed_site().located_at(expr.last().map_or(field.span(), TokenTree::span));
            let take = quote_spanned!(last=> .take_of(&mut __bad, &#kind));
            kinds.push(kind);
            values.push(quote!(#value #take));
            metas.push(facts.meta(&row::column_name(field), &text(expr), None));
        }
        let record = stream(&row.name);
        let place = Span::mixed_site().located_at(row.name.last().map_or(row.word.span(), TokenTree::span));
        let view = Ident::new("__Row", place);
        let p = quote!(::sabot::__private);
        let bad = id("__bad");
        let list = kinds.iter().rev().fold(quote!(()), |rest, kind| quote!((#kind, #rest)));
        let alias = quote_spanned!(place=> type #view<'a> = <<#record as #p::IsRecord>::Itself as #p::Record>::Row<'a>;);
        let method = if params.len() == 1 && !prelude.is_empty() { id("select") } else { Ident::new("select", name.span()) };
        let call = quote!(#method(move |#(#params,)* #m| {
            #prelude
            #alias
            let mut #bad = false;
            #(let #kinds = #p::Kind::new();)*
            let __row = #view { #(#names: #values),* };
            #p::all_of::<#record, _>(__row, #bad, #list)
        }));
        self.row_wise(&call, clones, "select", name, &metas);
        self.known.anonymous = false;
        self.known.keys.clear();
        self.known.windowed = false;
    }

    /// The fields of a row, without repeated names; a repetition is an error at the second.
    pub(super) fn unique(&mut self, row: &Row) -> Vec<(Ident, Vec<TokenTree>)> {
        let mut out: Vec<(Ident, Vec<TokenTree>)> = Vec::new();
        for (name, expr) in &row.fields {
            if out.iter().any(|(n, _)| n == name) {
                self.cx.error(name.span(), &format!("column `{name}` appears twice in this row"));
                continue;
            }
            if expr.is_empty() {
                self.cx.error(name.span(), &format!("column `{name}` needs a value: `{name}: expression`"));
                continue;
            }
            out.push((name.clone(), expr.clone()));
        }
        out
    }

    /// `map(op)`: binds parameters to columns by name.
    pub(super) fn map(&mut self, name: &Ident, tokens: &[TokenTree]) {
        let path = tokens.iter().all(|t| matches!(t, TokenTree::Ident(_)) || is_punct(Some(t), ':'));
        let Some(TokenTree::Ident(op)) = tokens.last().filter(|_| path) else {
            let span = tokens.first().map_or(name.span(), TokenTree::span);
            let message = "`map` takes the name of an operator: `map(notional)`; for an expression use `with(|t| row { .. })`";
            let (s, clones) = (id("__s"), self.cx.clones(tokens));
            let alive = match closure(tokens) {
                Some(c) => {
                    let (params, body) = (&c.params, stream(&c.body));
                    quote!(#clones #s.filter(move |#(#params),*| { let _ = { #body }; true }))
                }
                None => stream(tokens),
            };
            self.broken(span, message, &alive);
            return;
        };
        let row_name = self.cx.row_name(&self.label.clone());
        let column = Ident::new(&op.to_string(), op.span());
        let shape = Shape { name: &row_name, fields: std::slice::from_ref(&column), computed: &[true], named_columns: true };
        let (items, types) = row::layer(&shape);
        self.cx.items.extend(items);
        let (literal, path, m, t) = (&types.literal, stream(tokens), id("__m"), id("__t"));
        let p = quote!(::sabot::__private);
        let with = Ident::new("with", name.span().resolved_at(Span::mixed_site()));
        let value = quote!(if #m.wants(0) { <#path as #p::MapOperator<_, _, _>>::call(#t, #m) } else { #p::Slot::unwanted() });
        let call = quote!(#with(move |#t, #m| #literal { #column: #value }.adds()));
        let (column_text, op_text) = (row::column_name(op), op.to_string());
        let meta = quote!(#p::ExprMeta {
            name: #column_text, text: #op_text, reads: ::core::option::Option::None, strict: &[], pass: ::core::option::Option::None,
            calls: &[#op_text], plain: true, hoist: true, simple: ::core::option::Option::None,
        });
        self.row_wise(&call, &TokenStream::new(), "map", name, &[meta]);
        self.known.anonymous = true;
    }
}
