//! From chains to builder calls.

mod aggregate;
mod several;
mod whole;

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{format_ident, quote, quote_spanned};

use super::meta::{Facts, RowParam, mentions, pass, text};
use super::model::{Chain, Head, Step};
use super::parse::chain as parse_chain;
use super::recover::{call_of, key_columns, may_be_function, not_an_aggregate, row_for};
use super::row::{self, Shape};
use super::tokens::{Closure, Row, closure, error, error_expr, group_of, is_punct, list, row as row_of, split, stream};
use crate::common::similar;

use several::Joined;

/// What is known of a stream while expanding.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The key columns.
    pub(crate) keys: Vec<Ident>,
    /// Whether the keyed rows are cut into windows.
    pub(crate) windowed: bool,
    /// Whether its run is still growing: `(stream, part)` instead of a stream.
    pub(crate) open: bool,
}

/// Everything collected while expanding a block.
pub(crate) struct Cx {
    /// That the block has no header, where it has none: then no source is known, and nothing is said about undefined streams.
    pub(crate) headless: Option<TokenStream>,
    /// Value parameters.
    pub(crate) params: Vec<Ident>,
    /// Streams by name.
    pub(crate) streams: BTreeMap<String, Known>,
    /// How often each stream is used, and whether its one use begins with a row-wise step.
    pub(crate) continues: BTreeMap<String, bool>,
    /// Whether the block uses `map(op)`.
    pub(crate) maps: bool,
    /// Generated types.
    pub(crate) items: TokenStream,
    /// Errors beside the expansion.
    pub(crate) errors: TokenStream,
    /// Row types so far, per stream.
    pub(crate) rows: BTreeMap<String, usize>,
    /// Steps so far.
    pub(crate) count: usize,
}

/// Steps that become part of a run.
pub(crate) const ROW_WISE: &[&str] = &["filter", "with", "select", "map", "inspect"];
/// Steps that only describe the stream.
pub(crate) const NOTES: &[&str] = &["key_by", "event_time", "window"];

pub(crate) fn id(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
/// `{ let name = name; value }` with braces at a place of the user's: rustc reports there what is wrong with the value.
///
/// It points at an expression only if that is in the same hygiene context as the call, and looks through blocks without
/// statements. Names of ours keep their distance from the user's tokens, because an editor that looks for a token at the
/// cursor would find ours.
fn pointed(name: &Ident, value: &TokenStream, place: Span) -> TokenStream {
    let block = quote!(let #name = #name; #value);
    quote_spanned!(place=> { #block })
}

/// A chain under construction.
struct Build<'c> {
    cx: &'c mut Cx,
    label: Ident,
    out: TokenStream,
    known: Known,
    /// The name of the step that is being expanded.
    here: Span,
    /// Whether a step was written with a dot, and that was said.
    dotted: bool,
    /// Notes (`key_by`, `window`, `event_time`) that wait for the run before them, which the input side of an
    /// `aggregate` may still join.
    notes: TokenStream,
}

impl Cx {
    /// Expands a chain into statements that leave `__s` (and `__p`, if its run is still open), and what is known of it.
    pub(crate) fn chain(&mut self, chain: &Chain, label: &Ident, may_stay_open: bool) -> (TokenStream, Known) {
        let mut b = Build {
            cx: self,
            label: label.clone(),
            out: TokenStream::new(),
            known: Known::default(),
            here: label.span(),
            dotted: false,
            notes: TokenStream::new(),
        };
        b.head(&chain.head);
        for step in &chain.steps {
            b.step(step);
        }
        if !b.notes.is_empty() || !may_stay_open {
            b.seal();
        }
        (b.out, b.known)
    }

    fn error(&mut self, span: Span, message: &str) {
        self.errors.extend(error(span, message));
    }

    /// `let a = a.clone();` for the parameters that the tokens mention.
    fn clones(&self, tokens: &[TokenTree]) -> TokenStream {
        let used: Vec<&Ident> = self.params.iter().filter(|p| mentions(tokens, &p.to_string())).collect();
        quote!(#(let #used = ::core::clone::Clone::clone(&#used);)*)
    }

    /// A fresh name for the row types of a stream: `daily`, `daily_2`, ..
    fn row_name(&mut self, label: &Ident) -> Ident {
        let n = self.rows.entry(label.to_string()).or_insert(0);
        *n += 1;
        let base = label.to_string();
        let base = base.strip_prefix("r#").unwrap_or(&base);
        Ident::new(&if *n == 1 { base.to_owned() } else { format!("{base}_{n}") }, Span::call_site())
    }
}

impl Build<'_> {
    /// The stream so far, as the receiver of a step, and for rustc at the step's name.
    fn on(&self) -> TokenStream {
        let s = id("__s");
        let block = pointed(&s, &quote!(#s), self.here);
        // parentheses count as part of what they enclose
        quote_spanned!(self.here=> (#block))
    }

    /// The same, with the columns that the step's closure reads.
    fn reading(&self, reads: &TokenStream) -> TokenStream {
        let s = id("__s");
        let block = pointed(&s, &quote!(#s.reading(#reads)), self.here);
        quote_spanned!(self.here=> (#block))
    }

    /// Reports a mistake after which the stream's type is not known, so that nothing further is said about it.
    fn broken(&mut self, span: Span, message: &str, alive: &TokenStream) {
        self.seal();
        let (s, e) = (id("__s"), error_expr(span, message));
        // the editor goes on with the stream as it was before the step
        self.out.extend(quote!(#[cfg(rust_analyzer)] let _ = { #alive }; #[cfg(not(rust_analyzer))] let #s = #e;));
        self.known = Known::default();
    }

    fn head(&mut self, head: &Head) {
        let (s, p, g) = (id("__s"), id("__p"), id("__g"));
        match head {
            Head::Stream(name) => match self.cx.streams.get(&name.to_string()) {
                Some(known) => {
                    self.known = known.clone();
                    if known.open {
                        self.out.extend(quote!(let (#s, #p) = #name;));
                    } else {
                        self.out.extend(quote!(let #s = #name;));
                    }
                }
                None => {
                    let is_param = self.cx.params.iter().any(|p| p == name);
                    let message = match similar(&name.to_string(), self.cx.streams.keys().map(String::as_str)) {
                        Some(near) => format!("no stream `{name}` is defined above; did you mean `{near}`?"),
                        None => format!("no stream `{name}` is defined above"),
                    };
                    let message = if self.cx.continues.contains_key(&name.to_string()) {
                        format!("stream `{name}` is used before it is defined: move its statement up")
                    } else if is_param {
                        format!("`{name}` is a parameter, not a stream: a source is declared `{name}: Source<Record>`")
                    } else {
                        message
                    };
                    let e = self.cx.headless.clone().unwrap_or_else(|| error_expr(name.span(), &message));
                    self.out.extend(quote!(let #s = #e;));
                }
            },
            Head::Source(word, args) => {
                let label = self.label.to_string();
                self.out.extend(quote!(let #s = #g.#word(#label, #args);));
            }
            Head::Other(tokens) => {
                let tokens = tokens.clone();
                self.out.extend(quote!(let #s = #tokens;));
            }
            Head::Missing(span) => {
                let e = error_expr(*span, "expected a stream, a source parameter, or `source(..)` after `=`");
                self.out.extend(quote!(let #s = #e;));
            }
        }
    }

    /// Ends the run, and emits the notes behind it.
    fn seal(&mut self) {
        if self.known.open {
            let (s, p) = (id("__s"), id("__p"));
            self.out.extend(quote!(let #s = #s.seal(#p);));
            self.known.open = false;
        }
        self.out.extend(std::mem::take(&mut self.notes));
    }

    fn step(&mut self, step: &Step) {
        self.here = step.span;
        if let Some(dot) = step.dot.filter(|_| !self.dotted) {
            self.dotted = true;
            self.cx.error(dot, "steps are joined by `->`: write `trades -> filter(..)`");
        }
        let Some(name) = &step.name else {
            let message = if step.rest.is_empty() {
                "expected a step after `->`, such as `filter(..)`"
            } else {
                "expected a step such as `filter(..)`"
            };
            self.cx.error(step.span, message);
            self.seal();
            // as far as the name, the same as with one: the editor compares
            let s = id("__s");
            self.out.extend(quote!(#[cfg(rust_analyzer)] let _ = #s;));
            return;
        };
        if !step.rest.is_empty() {
            let span = step.rest.clone().into_iter().next().map_or(step.span, |t| t.span());
            self.cx.error(span, "expected `->` or `;` after a step");
        }
        let word = name.to_string();
        let Some(args) = &step.args else {
            self.bare(name, &word);
            return;
        };
        let tokens = list(&args.stream());
        match word.as_str() {
            "filter" => self.filter(name, &tokens, args.span()),
            "inspect" => self.inspect(name, &tokens),
            "with" | "select" => self.columns(name, &word, &tokens, None),
            "map" => self.map(name, &tokens),
            "key_by" => self.key_by(name, &tokens),
            "event_time" => self.event_time(name, &tokens),
            "window" => self.window(name, &tokens),
            "aggregate" => self.aggregate(name, &tokens),
            "keyed" => self.keyed(name, &tokens),
            "batch" => self.batch(name, &tokens),
            "flat_map" => self.flat_map(name, &tokens),
            "join" | "left_join" => self.join(name, &word, &tokens),
            "union" => self.union(name, &tokens),
            "sort" => self.sort(name, &tokens),
            "sink" if tokens.is_empty() => self.open_sink(name),
            _ => {
                self.seal();
                let (s, on) = (id("__s"), self.on());
                let inner = stream(&tokens);
                let clones = self.cx.clones(&tokens);
                let call = quote_spanned!(args.span()=> (#inner));
                self.out.extend(quote!(let #s = { #clones #on.#name #call };));
            }
        }
    }

    /// A step without parentheses.
    fn bare(&mut self, name: &Ident, word: &str) {
        let s = id("__s");
        if word == "sink" {
            self.open_sink(name);
            return;
        }
        self.cx.error(name.span(), &format!("expected `(` after step `{name}`"));
        self.seal();
        // the editor completes step names from the methods of the stream
        self.out.extend(quote!(#[cfg(rust_analyzer)] let _ = #s.#name;));
    }

    fn open_sink(&mut self, name: &Ident) {
        self.seal();
        let (s, label) = (id("__s"), self.label.to_string());
        let method = Ident::new("open_sink", name.span().resolved_at(Span::mixed_site()));
        self.out.extend(quote!(#s.#method(#label);));
    }

    /// `let (__s, __p) = __s.<call>.part(&META)`, composed with an open run.
    fn row_wise(&mut self, call: &TokenStream, clones: &TokenStream, step: &str, name: &Ident, exprs: &[TokenStream]) {
        if !self.notes.is_empty() && step != "inputs" {
            self.seal();
        }
        let (s, p, q) = (id("__s"), id("__p"), id("__q"));
        let on = self.on();
        self.cx.count += 1;
        let label = self.label.to_string();
        let line = quote_spanned!(name.span().resolved_at(Span::mixed_site())=> ::core::line!());
        let meta = quote! {{
            const META: ::sabot::__private::StepMeta = ::sabot::__private::StepMeta {
                step: #step, stream: #label, file: ::core::file!(), line: #line, exprs: &[#(#exprs),*],
            };
            &META
        }};
        self.out.extend(quote!(let (#s, #q) = { #clones #on.#call.part(#meta) };));
        if self.known.open {
            self.out.extend(quote!(let #p = #p.then(#q);));
        } else {
            self.out.extend(quote!(let #p = #q;));
        }
        self.known.open = true;
    }

    fn check_panics(&mut self, tokens: &[TokenTree]) {
        for (i, t) in tokens.iter().enumerate() {
            match t {
                TokenTree::Group(g) => self.check_panics(&list(&g.stream())),
                TokenTree::Ident(word) => {
                    let method = i > 0 && is_punct(tokens.get(i - 1), '.') && (word == "unwrap" || word == "expect");
                    let makro = is_punct(tokens.get(i + 1), '!')
                        && !is_punct(tokens.get(i + 2), '=')
                        && ["panic", "todo", "unimplemented", "unreachable"].iter().any(|m| word == m);
                    if method {
                        self.cx.error(word.span(), "a null here would stop the job: use `?`, `unwrap_or(..)` or return a `Result`");
                    } else if makro {
                        self.cx.error(word.span(), "a panic here would stop the job: use `?`, or return a `Result`");
                    }
                }
                _ => {}
            }
        }
    }

    fn filter(&mut self, name: &Ident, tokens: &[TokenTree], span: Span) {
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
        let facts = Facts::of(&c.body, &rows);
        let (params, body) = (&c.params, stream(&c.body));
        let body = if facts.question {
            quote!((|| -> ::core::option::Option<bool> { ::core::option::Option::Some(#body) })().unwrap_or(false))
        } else {
            body
        };
        let clones = self.cx.clones(&c.body);
        let meta = facts.meta("", &text(&c.body), None);
        self.row_wise(&quote!(#name(move |#(#params),*| #body)), &clones, "filter", name, &[meta]);
    }

    fn inspect(&mut self, name: &Ident, tokens: &[TokenTree]) {
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
    fn columns(&mut self, name: &Ident, word: &str, tokens: &[TokenTree], joined: Option<&Joined>) {
        let clones = self.cx.clones(tokens);
        let Some(c) = closure(tokens) else {
            let inner = stream(tokens);
            let first = tokens.first().map_or(name.span(), TokenTree::span);
            let message = format!("`{name}` takes a closure that makes a row: `{name}(|t| row {{ .. }})`");
            self.broken(first, &message, &quote!(#clones #inner));
            return;
        };
        self.check_panics(&c.body);
        let rows = row_params(&c, joined.map_or(&[""], |_| &["left.", "right."]));
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
            values.push(cell(expr, facts.question, pass.is_none().then_some(bit)));
            if pass.is_none() {
                bit += 1;
            }
            metas.push(facts.meta(&row::column_name(field), &text(expr), pass.as_deref()));
        }
        let literal = Ident::new(&types.literal.to_string(), row.word.span().resolved_at(Span::call_site()));
        let finish = if word == "with" { id("adds") } else { id("made") };
        let step = if joined.is_some() { "join" } else { word };
        let method = if joined.is_some() { id("select") } else { name.clone() };
        let call = quote!(#method(move |#(#params,)* #m| { #prelude #literal { #(#names: #values),* }.#finish() }));
        self.row_wise(&call, &clones, step, name, &metas);
        if word == "select" {
            self.known.keys.clear();
            self.known.windowed = false;
        }
    }

    /// `select(|t| row Alert { .. })`.
    #[allow(clippy::too_many_arguments)]
    fn named(
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
        let (mut names, mut values, mut metas) = (Vec::new(), Vec::new(), Vec::new());
        for (field, expr) in &fields {
            let facts = Facts::of(expr, rows);
            let value = cell(expr, facts.question, None);
            names.push(field.clone());
            // from the first token of the expression to its last
            let last = Span::mixed_site().located_at(expr.last().map_or(field.span(), TokenTree::span));
            let take = quote_spanned!(last=> .take(&mut __bad));
            values.push(quote!(#value #take));
            metas.push(facts.meta(&row::column_name(field), &text(expr), None));
        }
        let record = stream(&row.name);
        let place = Span::mixed_site().located_at(row.name.last().map_or(row.word.span(), TokenTree::span));
        let view = Ident::new("__Row", place);
        let p = quote!(::sabot::__private);
        let bad = id("__bad");
        let alias = quote_spanned!(place=> type #view<'a> = <<#record as #p::IsRecord>::Itself as #p::Record>::Row<'a>;);
        let method = if params.len() == 1 && !prelude.is_empty() { id("select") } else { Ident::new("select", name.span()) };
        let call = quote!(#method(move |#(#params,)* #m| {
            #prelude
            #alias
            let mut #bad = false;
            let __row = #view { #(#names: #values),* };
            #p::Made::<'_, #p::All<#record>>::new(__row, #bad)
        }));
        self.row_wise(&call, clones, "select", name, &metas);
        self.known.keys.clear();
        self.known.windowed = false;
    }

    /// The fields of a row, without repeated names; a repetition is an error at the second.
    fn unique(&mut self, row: &Row) -> Vec<(Ident, Vec<TokenTree>)> {
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
    fn map(&mut self, name: &Ident, tokens: &[TokenTree]) {
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
            calls: &[#op_text], plain: true, hoist: true,
        });
        self.row_wise(&call, &TokenStream::new(), "map", name, &[meta]);
    }

    fn key_by(&mut self, name: &Ident, tokens: &[TokenTree]) {
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

    fn event_time(&mut self, name: &Ident, tokens: &[TokenTree]) {
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

    fn window(&mut self, name: &Ident, tokens: &[TokenTree]) {
        if let [TokenTree::Ident(kind), TokenTree::Group(size), ..] = tokens
            && kind == "tumbling"
            && let Some(TokenTree::Literal(l)) = size.stream().into_iter().next()
            && l.to_string().trim_start_matches('-').trim_start_matches('0').trim_start_matches('_').is_empty()
        {
            self.cx.error(l.span(), "a window needs a size greater than zero");
        }
        let (s, inner, clones) = (id("__s"), stream(tokens), self.cx.clones(tokens));
        let on = self.on();
        self.notes.extend(quote!(let #s = { #clones #on.#name(#inner) };));
        self.known.windowed = true;
    }
}

fn row_params(c: &Closure, prefixes: &[&'static str]) -> Vec<RowParam> {
    c.names.iter().zip(prefixes).filter_map(|(n, prefix)| n.as_ref().map(|n| RowParam { name: n.to_string(), prefix })).collect()
}

/// The value of one column expression; computed ones are skipped when nobody wants them.
fn cell(expr: &[TokenTree], question: bool, bit: Option<u32>) -> TokenStream {
    let m = id("__m");
    let tokens = stream(expr);
    let value = if question { quote!((|| ::core::option::Option::Some(#tokens))()) } else { tokens };
    // at the first token of the expression
    let first = Span::mixed_site().located_at(expr.first().map_or_else(Span::mixed_site, TokenTree::span));
    let p = quote_spanned!(first=> ::sabot::__private);
    let value = quote!(#p::col(#m, #value));
    match bit {
        Some(bit) => quote!(if #m.wants(#bit) { #value } else { #p::Slot::unwanted() }),
        None => value,
    }
}

fn blind_meta(name: &str, text: &str) -> TokenStream {
    quote!(::sabot::__private::ExprMeta {
        name: #name, text: #text, reads: ::core::option::Option::None, strict: &[], pass: ::core::option::Option::None,
        calls: &["(closure)"], plain: false, hoist: false,
    })
}
