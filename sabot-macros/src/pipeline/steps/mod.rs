//! From chains to builder calls.

mod aggregate;
mod asynchronous;
mod changes;
mod edges;
mod errors;
mod joins;
mod keyed;
mod lateness;
mod many;
mod notes;
mod ordered;
mod rows;
mod sets;
mod typed;

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{format_ident, quote, quote_spanned};

use crate::common::similar;
use crate::pipeline::meta::{Facts, RowParam, mentions, pass, text};
use crate::pipeline::model::{Chain, Head, Step};
use crate::pipeline::parse::{chain as parse_chain, is_chain};
use crate::pipeline::recover::{call_of, constants, key_columns, may_be_function, not_an_aggregate, other_step, row_for, wrong_window};
use crate::pipeline::row::{self, Shape};
use crate::pipeline::tokens::{
    Closure, Row, await_in, awaited, closure, error, error_expr, group_of, is_ident, is_punct, list, row as row_of, split, stream,
};

/// What is known of a stream while expanding.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The key columns.
    pub(crate) keys: Vec<Ident>,
    /// Whether the keyed rows are cut into windows.
    pub(crate) windowed: bool,
    /// Whether its rows are of an anonymous record, as far as can be told from the steps.
    pub(crate) anonymous: bool,
    /// Whether its run is still growing: `(stream, part)` instead of a stream.
    pub(crate) open: bool,
    /// Whether it is a source, but for notes.
    pub(crate) source: bool,
    /// Whether it ends in a step that waits: a stream that still has to say what becomes of errors.
    pub(crate) waits: bool,
}

impl Known {
    /// Whether it is `(stream, part)` instead of one value.
    pub(crate) fn two(&self) -> bool {
        self.open && !self.waits
    }
}

/// Everything collected while expanding a block.
pub(crate) struct Cx {
    /// That the block has no header, where it has none: then no source is known, and nothing is said about undefined streams.
    pub(crate) headless: Option<TokenStream>,
    /// The record that it returns.
    pub(crate) output: Option<TokenStream>,
    /// Whether the statement to come defines two streams.
    pub(crate) pair: bool,
    /// Value parameters.
    pub(crate) params: Vec<Ident>,
    /// Those of primitive types.
    pub(crate) primitives: Vec<Ident>,
    /// The pipeline's name.
    pub(crate) pipeline: String,
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
/// Steps that join the stream with another.
pub(crate) const JOINS: &[&str] = &["join", "left_join", "right_join", "full_join", "semi_join", "anti_join", "asof_join", "interval_join"];
/// Steps that make two streams.
pub(crate) const PAIRS: &[&str] = &["dead_letter", "late_rows", "bad_rows"];
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
    /// Whether the statement defines two streams.
    pair: bool,
    /// Whether this is the last step of the statement.
    last: bool,
    /// The step before, if it was one that makes two streams.
    ended: Option<&'static str>,
    /// Whether errors of the steps before are dealt with.
    handled: bool,
    /// Notes (`key_by`, `window`, `event_time`) that wait for the run before them, which the input side of an
    /// `aggregate` may still join.
    notes: TokenStream,
}

impl Cx {
    /// Expands a chain into statements that leave `__s` (and `__p`, if its run is still open), and what is known of it.
    pub(crate) fn chain(&mut self, chain: &Chain, label: &Ident, may_stay_open: bool) -> (TokenStream, Known) {
        let pair = std::mem::take(&mut self.pair);
        let mut b = Build {
            pair,
            last: false,
            ended: None,
            handled: false,
            cx: self,
            label: label.clone(),
            out: TokenStream::new(),
            known: Known::default(),
            here: label.span(),
            dotted: false,
            notes: TokenStream::new(),
        };
        b.head(&chain.head);
        for (number, step) in chain.steps.iter().enumerate() {
            b.last = number + 1 == chain.steps.len();
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
                    if known.two() {
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
                self.known.source = true;
            }
            Head::Call(path, args) => self.call(path, args),
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

    /// Another pipeline, or a function over streams: `clean(raw, limit)`.
    fn call(&mut self, path: &[TokenTree], args: &Group) {
        let s = id("__s");
        let span = path.first().map_or_else(|| args.span(), TokenTree::span);
        if let ([TokenTree::Ident(name)], own) = (path, &self.cx.pipeline)
            && name == own
        {
            let e = error_expr(span, &format!("pipeline `{own}` uses itself: a pipeline is a graph without cycles"));
            self.out.extend(quote!(let #s = #e;));
            return;
        }
        let tokens = list(&args.stream());
        let mut given = Vec::new();
        for piece in split(&tokens, ',').into_iter().filter(|p| !p.is_empty()) {
            match piece {
                [TokenTree::Ident(name)]
                    if !self.cx.streams.contains_key(&name.to_string()) && self.cx.continues.contains_key(&name.to_string()) =>
                {
                    let message = format!("stream `{name}` is used before it is defined: move its statement up");
                    given.push(error_expr(name.span(), &message));
                }
                piece if is_chain(piece) => {
                    let nested = self.nested(piece, span);
                    let first = piece.first().map_or(span, TokenTree::span);
                    given.push(quote_spanned!(first=> { #nested }));
                }
                piece => given.push(stream(piece)),
            }
        }
        let (path, clones) = (stream(path), self.cx.clones(&tokens));
        let call = quote_spanned!(args.span()=> (#(#given),*));
        let flow = quote_spanned!(Span::mixed_site().located_at(span)=> ::sabot::__private::flow);
        self.out.extend(quote!(let #s = { #clones #flow(#path #call) };));
    }

    /// Ends the run, and emits the notes behind it.
    fn seal(&mut self) {
        if self.known.two() {
            let (s, part) = (id("__s"), self.part());
            self.out.extend(quote!(let #s = #s.seal(#part);));
            self.known.open = false;
            self.handled = false;
        }
        self.settle();
        self.out.extend(std::mem::take(&mut self.notes));
    }

    fn step(&mut self, step: &Step) {
        self.here = step.span;
        self.behind_two(step);
        let source = std::mem::take(&mut self.known.source);
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
        if let Some(span) = await_in(&tokens) {
            self.waits(name, &tokens, span);
            return;
        }
        match word.as_str() {
            "filter" => self.filter(name, &tokens, args.span()),
            "on_error" => self.on_error(name, &tokens),
            "dead_letter" => self.dead_letter(name, &tokens),
            "watermark" => self.watermark(name, &tokens, source),
            "late_rows" => self.late_rows(name, &tokens, source),
            "bad_rows" => self.bad_rows(name, &tokens, source),
            "inspect" => self.inspect(name, &tokens),
            "with" | "select" => self.columns(name, &word, &tokens, None),
            "map" => self.map(name, &tokens),
            "key_by" => {
                self.key_by(name, &tokens);
                self.known.source = source;
            }
            "event_time" => {
                self.event_time(name, &tokens);
                self.known.source = source;
            }
            "window" => self.window(name, &tokens),
            "aggregate" => self.aggregate(name, &tokens),
            "keyed" => self.keyed(name, &tokens),
            "batch" => self.batch(name, &tokens),
            "flat_map" => self.flat_map(name, &tokens),
            step if JOINS.contains(&step) => self.join(name, &tokens),
            "union" => self.union(name, &tokens),
            "sort" => self.sort(name, &tokens),
            "top" => self.top(name, &tokens),
            "over" => self.over(name, &tokens),
            "reduce" => self.reduce(name, &tokens),
            "distinct" => self.distinct(name, &tokens),
            "partition_by" => self.partition_by(name, &tokens),
            "rebalance" => self.rebalance(name, &tokens),
            "changelog" => self.changelog(name, &tokens),
            "intersect" | "except" => self.set(name, &tokens),
            "sample" => self.sample(name, &tokens),
            "sink" if tokens.is_empty() => self.open_sink(name),
            other => {
                if let Some(message) = other_step(other) {
                    self.broken(name.span(), &message, &quote!());
                    return;
                }
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
        let method = |method| Ident::new(method, name.span().resolved_at(Span::mixed_site()));
        if let Some(record) = &self.cx.output {
            let method = method("output");
            self.out.extend(quote!(#s.#method::<#record>(#label);));
        } else {
            let method = method("open_sink");
            self.out.extend(quote!(#s.#method(#label);));
        }
    }

    /// `let (__s, __p) = __s.<call>.part(&META)`, composed with an open run.
    fn row_wise(&mut self, call: &TokenStream, clones: &TokenStream, step: &str, name: &Ident, exprs: &[TokenStream]) {
        if !self.notes.is_empty() && step != "inputs" {
            self.seal();
        }
        self.settle();
        let (s, p, q) = (id("__s"), id("__p"), id("__q"));
        let on = self.on();
        self.cx.count += 1;
        let meta = self.meta(step, name, exprs);
        self.out.extend(quote!(let (#s, #q) = { #clones #on.#call.part(#meta) };));
        if self.known.open {
            self.out.extend(quote!(let #p = #p.then(#q);));
        } else {
            self.out.extend(quote!(let #p = #q;));
        }
        self.known.open = true;
        self.handled = false;
    }

    /// A reference to the `StepMeta` of a step.
    fn meta(&self, step: &str, name: &Ident, exprs: &[TokenStream]) -> TokenStream {
        let label = self.label.to_string();
        let line = quote_spanned!(name.span().resolved_at(Span::mixed_site())=> ::core::line!());
        quote! {{
            const META: ::sabot::__private::StepMeta = ::sabot::__private::StepMeta {
                step: #step, stream: #label, file: ::core::file!(), line: #line, exprs: &[#(#exprs),*],
            };
            &META
        }}
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
}

/// The two sides of a join as rows of a closure.
struct Joined;
impl Joined {
    fn prelude(&self, c: &Closure) -> TokenStream {
        let mut out = TokenStream::new();
        for (param, side) in c.params.iter().zip(["left", "right", "window"]) {
            let side = id(side);
            out.extend(quote!(let #param = __pair.#side();));
        }
        out
    }
}

fn row_params(c: &Closure, prefixes: &[&'static str]) -> Vec<RowParam> {
    c.names.iter().zip(prefixes).filter_map(|(n, prefix)| n.as_ref().map(|n| RowParam { name: n.to_string(), prefix })).collect()
}

/// The value of one column expression; computed ones are skipped when nobody wants them.
fn cell(expr: &[TokenTree], question: bool, bit: Option<u32>, number: usize) -> TokenStream {
    let m = id("__m");
    let tokens = stream(expr);
    let value = if question { quote!((|| ::core::option::Option::Some(#tokens))()) } else { tokens };
    // at the first token of the expression
    let first = Span::mixed_site().located_at(expr.first().map_or_else(Span::mixed_site, TokenTree::span));
    let p = quote_spanned!(first=> ::sabot::__private);
    let number = number as u16;
    let value = quote!(#p::col(#m.cell(#number), #value));
    match bit {
        Some(bit) => quote!(if #m.wants(#bit) { #value } else { #p::Slot::unwanted() }),
        None => value,
    }
}

fn blind_meta(name: &str, text: &str) -> TokenStream {
    quote!(::sabot::__private::ExprMeta {
        name: #name, text: #text, reads: ::core::option::Option::None, strict: &[], pass: ::core::option::Option::None,
        calls: &["(closure)"], plain: false, hoist: false, simple: ::core::option::Option::None,
    })
}

/// The body of a condition: `?` on a null makes it false.
fn condition_body(body: TokenStream, facts: &Facts) -> TokenStream {
    if facts.question {
        quote!((|| -> ::core::option::Option<bool> { ::core::option::Option::Some(#body) })().unwrap_or(false))
    } else {
        body
    }
}
