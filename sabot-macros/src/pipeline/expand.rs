//! The generated item: a function to run the pipeline in a program, a type of the same name that registers it, and the
//! builder calls that make its graph.

use std::collections::BTreeMap;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};

use super::check::{check, used};
use super::model::{Head, Pair, Pipeline, Stmt};
use super::simple::{constant_name, primitive};
use super::steps::{Cx, Known, NOTES, PAIRS, ROW_WISE, id};
use super::tokens::{error, error_expr, list};
use crate::common::span_of;

/// Expands a block.
pub(crate) fn expand(pipeline: &Pipeline) -> TokenStream {
    let used = used(pipeline);
    let (mut errors, cycles) = check(pipeline, &used);
    errors.extend(pipeline.mistakes.iter().map(|(span, message)| error(*span, message)).collect::<TokenStream>());
    let sources: Vec<_> = pipeline.params.iter().filter(|p| p.source.is_some()).collect();
    let values: Vec<_> = pipeline.params.iter().filter(|p| p.source.is_none()).collect();
    let mut cx = Cx {
        headless: pipeline.name.is_none().then(|| headless(pipeline)),
        output: pipeline.output.clone(),
        pair: false,
        params: values.iter().map(|p| p.name.clone()).collect(),
        pipeline: pipeline.name.as_ref().map(ToString::to_string).unwrap_or_default(),
        primitives: values.iter().filter(|p| primitive(&p.ty)).map(|p| p.name.clone()).collect(),
        streams: sources.iter().map(|p| (p.name.to_string(), Known { source: true, ..Known::default() })).collect(),
        continues: pipeline
            .stmts
            .iter()
            .filter_map(|s| s.name.as_ref())
            .map(|n| (n.to_string(), continues(pipeline, n, &used)))
            .chain(pipeline.stmts.iter().filter_map(|s| s.bad()).map(|n| (n.to_string(), false)))
            .collect(),
        maps: pipeline.stmts.iter().any(|s| s.chain.steps.iter().any(|s| s.name.as_ref().is_some_and(|n| n == "map"))),
        items: TokenStream::new(),
        errors: TokenStream::new(),
        rows: reserved(pipeline),
        count: 0,
    };
    let (s, p, g) = (id("__s"), id("__p"), id("__g"));
    let mut body = TokenStream::new();
    for param in &cx.primitives {
        let name = constant_name(&cx.pipeline, param);
        body.extend(quote!(#g.constant(#name, &#param);));
    }
    for stmt in &pipeline.stmts {
        if let Some(n) = &stmt.name
            && let Some(broken) = cycles.get(&n.to_string())
        {
            let bad = stmt.bad();
            for n in [Some(n), bad].into_iter().flatten() {
                cx.streams.insert(n.to_string(), Known::default());
                body.extend(quote!(let #n = #broken;));
            }
            continue;
        }
        let label = label_of(stmt, cx.count);
        let name = label.to_string();
        let open = cx.continues.get(&name).copied().unwrap_or(false);
        cx.pair = stmt.pair.is_some();
        let ends = stmt.chain.steps.last().and_then(|s| s.name.as_ref()).is_some_and(|n| n == "sink");
        let (code, known) = cx.chain(&stmt.chain, &label, open && !ends && stmt.pair.is_none());
        body.extend(quote!(#g.stream(#name);));
        if let Some(pair) = &stmt.pair {
            body.extend(two(stmt, pair, &code, &mut cx));
            if let Some(n) = &stmt.name {
                cx.streams.insert(n.to_string(), known);
            }
            continue;
        }
        match &stmt.name {
            Some(n) if !ends => {
                let value = if known.two() { quote!((#s, #p)) } else { quote!(#s) };
                body.extend(quote!(let #n = { #code #value };));
                cx.streams.insert(name, known);
            }
            Some(n) => {
                body.extend(quote!({ #code }));
                cx.streams.insert(n.to_string(), Known::default());
            }
            None => body.extend(quote!({ #code let _ = #s; })),
        }
    }
    errors.extend(std::mem::take(&mut cx.errors));
    let items = std::mem::take(&mut cx.items);
    item(pipeline, &body, &items, &errors)
}

/// `let (good, bad) = ..;`, or what is wrong with it.
fn two(stmt: &Stmt, pair: &Pair, code: &TokenStream, cx: &mut Cx) -> TokenStream {
    // a keyed operator makes two streams at the end of a statement only
    let keyed = stmt.chain.steps.last().filter(|s| s.name.as_ref().is_some_and(|n| n == "keyed"));
    let step = stmt.chain.steps.iter().find(|s| s.name.as_ref().is_some_and(|n| PAIRS.iter().any(|p| n == p))).or(keyed);
    let wrong = if pair.odd {
        Some("two names of streams stand here: `(good, bad) = .. -> dead_letter();`")
    } else if step.is_none() {
        Some(
            "two names of streams stand here, but no step makes two: end the statement with `-> dead_letter();`, `-> bad_rows();`, \
             `-> late_rows();` or a `keyed(..)` that has a second output",
        )
    } else {
        None
    };
    if let Some(message) = wrong {
        cx.errors.extend(error(pair.span, message));
    }
    let (s, b) = (id("__s"), id("__b"));
    let second = match step {
        Some(step) if step.args.is_some() => quote!(#b),
        Some(step) => {
            let name = step.name.as_ref().map(ToString::to_string).unwrap_or_default();
            error_expr(step.span, &format!("expected `(` after step `{name}`"))
        }
        None => error_expr(pair.span, wrong.unwrap_or_default()),
    };
    let named = |n: Option<&Ident>| n.map_or_else(|| quote!(_), |n| quote!(#n));
    let (good, bad) = (named(stmt.name.as_ref()), named(stmt.bad()));
    if let Some(bad) = stmt.bad() {
        cx.streams.insert(bad.to_string(), Known::default());
    }
    quote!(let (#good, #bad) = { #code (#s, #second) };)
}

/// Names that row types must not take, as if each were in use once: the pipeline's, and those of operators that steps
/// name as types. A stream may be called like either.
fn reserved(pipeline: &Pipeline) -> BTreeMap<String, usize> {
    fn words(tokens: TokenStream, out: &mut BTreeMap<String, usize>) {
        for t in tokens {
            match t {
                proc_macro2::TokenTree::Ident(i) => drop(out.insert(i.to_string(), 1)),
                proc_macro2::TokenTree::Group(g) => words(g.stream(), out),
                _ => {}
            }
        }
    }
    let mut out: BTreeMap<String, usize> = pipeline.name.iter().map(|n| (n.to_string(), 1)).collect();
    for step in pipeline.stmts.iter().flat_map(|s| &s.chain.steps) {
        if step.name.as_ref().is_some_and(|n| n == "map" || n == "keyed" || n == "batch") {
            step.args.iter().for_each(|g| words(g.stream(), &mut out));
        }
    }
    out
}

/// The name under which a statement's steps appear: its own, or that of the stream that it ends.
fn label_of(stmt: &Stmt, n: usize) -> Ident {
    match (&stmt.name, &stmt.chain.head) {
        (Some(name), _) => name.clone(),
        (None, Head::Stream(name)) => Ident::new(&name.to_string(), Span::call_site()),
        (None, Head::Call(path, _)) if matches!(path.last(), Some(proc_macro2::TokenTree::Ident(_))) => {
            Ident::new(&path.last().map(ToString::to_string).unwrap_or_default(), Span::call_site())
        }
        _ => format_ident!("stream_{}", n),
    }
}

/// Whether the one use of a stream begins with a row-wise step, so that its run goes on.
fn continues(pipeline: &Pipeline, name: &Ident, used: &BTreeMap<String, usize>) -> bool {
    used.get(&name.to_string()) == Some(&1)
        && pipeline.stmts.iter().any(|s| {
            matches!(&s.chain.head, Head::Stream(n) if n == name)
                && s.chain.steps.first().and_then(|s| s.name.as_ref()).is_some_and(|n| {
                    ROW_WISE.contains(&n.to_string().as_str())
                        || ["aggregate", "on_error", "dead_letter"].iter().any(|w| n == w)
                        || NOTES.contains(&n.to_string().as_str())
                })
        })
}

fn item(pipeline: &Pipeline, body: &TokenStream, items: &TokenStream, errors: &TokenStream) -> TokenStream {
    let p = quote!(::sabot::__private);
    let name = pipeline.name.clone().unwrap_or_else(|| Ident::new("__unnamed_pipeline", Span::call_site()));
    let mut errors = errors.clone();
    if pipeline.name.is_none() {
        let e = headless(pipeline);
        errors.extend(quote!(#e;));
    }
    let (attrs, vis) = (&pipeline.attrs, &pipeline.vis);
    let g = id("__g");
    let sources: Vec<_> = pipeline.params.iter().filter_map(|q| q.source.as_ref().map(|s| (&q.name, s))).collect();
    let values: Vec<_> = pipeline.params.iter().filter(|q| q.source.is_none()).collect();
    let (value_names, value_types): (Vec<_>, Vec<_>) = values.iter().map(|q| (&q.name, &q.ty)).unzip();
    let bound = |b: &Option<TokenStream>| b.clone().unwrap_or_else(|| quote!(#p::Unbounded));
    let declare: TokenStream = sources
        .iter()
        .map(|(n, (record, b))| {
            let (text, b) = (n.to_string(), bound(b));
            let place = Span::mixed_site().located_at(span_of(record));
            let record = quote_spanned!(place=> <#record as ::sabot::__private::IsRecord>::Itself);
            quote!(let #n = #g.parameter::<#record, #b>(#text);)
        })
        .collect();
    let args: Vec<TokenStream> = pipeline
        .params
        .iter()
        .map(|q| {
            let n = &q.name;
            match &q.source {
                Some((record, b)) => {
                    let b = bound(b);
                    quote!(#n: impl #p::IntoSource<#record, #b>)
                }
                None => {
                    let ty = &q.ty;
                    quote!(#n: #ty)
                }
            }
        })
        .collect();
    let source_names: Vec<&Ident> = sources.iter().map(|(n, _)| *n).collect();
    let source_texts: Vec<String> = source_names.iter().map(ToString::to_string).collect();
    let value_texts: Vec<String> = value_names.iter().map(|n| n.to_string()).collect();
    let type_texts: Vec<String> = value_types.iter().map(|t| super::meta::text(&list(t))).collect();
    let records: Vec<String> = sources.iter().map(|(_, (r, _))| super::meta::text(&list(r))).collect();
    let ends: Vec<TokenStream> = sources
        .iter()
        .map(|(_, (_, b))| {
            let b = bound(b);
            quote!(<#b as #p::Bound>::ENDS)
        })
        .collect();
    let text = name.to_string();
    let doc = docs(attrs);
    let diagram = super::diagram::mermaid(pipeline);
    let entry = quote!(&<#name as #p::PipelineItem>::ENTRY);
    let params = quote!(#p::Params::new() #(.with(#value_texts, &#value_names))*);
    let build = quote!(|__g| <#name>::__build(__g #(, #value_names)*));
    let returned = pipeline.output.as_ref().map(|record| {
        let place = Span::mixed_site().located_at(span_of(record));
        quote_spanned!(place=> <#record as ::sabot::__private::IsRecord>::Itself)
    });
    let source_bounds: Vec<TokenStream> = sources
        .iter()
        .map(|(_, (record, b))| {
            let b = bound(b);
            quote!(#p::IntoSource<#record, #b>)
        })
        .collect();
    let function = match &returned {
        Some(record) if !sources.is_empty() => {
            let names = |what: &str, n| -> Vec<Ident> { (0..n).map(|i| format_ident!("{what}{i}", span = Span::mixed_site())).collect() };
            let (inputs, sides) = (names("__A", sources.len()), names("__S", sources.len()));
            let (given, side) = (names("__given", sources.len()), names("__side", sources.len()));
            let bounds: Vec<TokenStream> = sources
                .iter()
                .zip(&sides)
                .map(|((_, (record, b)), side)| {
                    let b = bound(b);
                    quote!(#p::Input<#record, #b, #side>)
                })
                .collect();
            let mut types = inputs.iter();
            let typed = pipeline.params.iter().map(|q| match q.source.as_ref().and_then(|_| types.next()) {
                Some(input) => (&q.name, quote!(#input)),
                None => (&q.name, q.ty.clone()),
            });
            let args: Vec<TokenStream> = typed.map(|(n, ty)| quote!(#n: #ty)).collect();
            // the sides of the first two, of the first three, ..
            let boths = names("__B", sources.len() - 1);
            let (mut all, mut wheres) = (&sides[0], TokenStream::new());
            for (side, both) in sides[1..].iter().zip(&boths) {
                wheres.extend(quote!(#all: #p::Beside<#side, #both>,));
                all = both;
            }
            let both = side[1..].iter().fold(side[0].to_token_stream(), |all, next| quote!(#p::Beside::beside(#all, #next)));
            // what is wrong with the record is said where it is
            let place = Span::mixed_site().located_at(pipeline.output.as_ref().map_or_else(Span::call_site, span_of));
            let call = quote_spanned!(place=> ::sabot::__private::Side::call);
            let out = quote_spanned!(place=> <#all as ::sabot::__private::Side>::Out<#record>);
            quote! {
                #[doc = "\n\nWith sources this is a [`Job`](::sabot::stream::Job) of its own; with streams of another pipeline its steps become part of that one, and it gives the stream of its rows."]
                #[doc = #diagram]
                #[allow(clippy::too_many_arguments, clippy::type_complexity)]
                #vis fn #name<#(#inputs: #bounds,)* #(#sides,)* #(#boths),*>(#(#args),*) -> #out where #wheres #all: #p::Side {
                    #(let (#side, #given) = <#inputs as #bounds>::give(#source_names);)*
                    #call(#both, #entry, #params, ::std::vec![#((#source_texts, #given)),*], #build)
                }
            }
        }
        _ => quote! {
            #[doc = #diagram]
            #[allow(clippy::too_many_arguments)]
            #vis fn #name(#(#args),*) -> #p::Job {
                #p::Job::new(#entry, #params, #build)#(.bind_source(#source_texts, <_ as #source_bounds>::binding(#source_names)))*
            }
        },
    };
    let output_text = match &pipeline.output {
        Some(record) => {
            let text = super::meta::text(&list(record));
            quote!(::core::option::Option::Some(#text))
        }
        None => quote!(::core::option::Option::None),
    };
    let line = quote_spanned!(name.span().resolved_at(Span::mixed_site())=> ::core::line!());
    // The body comes first: an editor finds its place in the expansion by offset, which names of half-typed steps in the
    // drawing would shift.
    quote! {
        #[allow(non_camel_case_types, non_snake_case, dead_code, unused_variables, unused_mut, unused_parens, private_interfaces, private_bounds, unexpected_cfgs, unreachable_pub, missing_docs, clippy::all, clippy::pedantic)]
        const _: () = {
            #items
            impl #name {
                #[doc(hidden)]
                pub fn __build(#g: &#p::Graph #(, #value_names: #value_types)*) {
                    #declare
                    #body
                }
            }
            impl #p::PipelineItem for #name {
                const ENTRY: #p::PipelineEntry = #p::PipelineEntry {
                    name: #text,
                    module: ::core::module_path!(),
                    doc: #doc,
                    file: ::core::file!(),
                    line: #line,
                    params: &[#(#p::ParamEntry::of::<#value_types>(#value_texts, #type_texts)),*],
                    sources: &[#((#source_texts, #records, #ends)),*],
                    output: #output_text,
                    build: |__params, __g| {
                        #(let #value_names = __params.value::<#value_types>(#value_texts, #type_texts)?;)*
                        <#name>::__build(__g #(, #value_names)*);
                        ::core::result::Result::Ok(())
                    },
                };
            }
            #p::inventory::submit! { <#name as #p::PipelineItem>::ENTRY }
        };
        #attrs
        #function
        #attrs
        #[allow(non_camel_case_types)]
        #vis enum #name {}
        #errors
    }
}

/// That there is no `pub fn name(..);`.
fn headless(pipeline: &Pipeline) -> TokenStream {
    error_expr(
        pipeline.first.unwrap_or_else(Span::call_site),
        "a pipeline begins with its name and parameters: `pub fn name(source: Source<Record>, limit: i64);`",
    )
}

/// The text of the doc comments.
fn docs(attrs: &TokenStream) -> String {
    let mut out: Vec<String> = Vec::new();
    for t in attrs.clone() {
        if let proc_macro2::TokenTree::Group(g) = t {
            let inner = list(&g.stream());
            if let [proc_macro2::TokenTree::Ident(d), _, proc_macro2::TokenTree::Literal(l)] = inner.as_slice()
                && d == "doc"
                && let Ok(s) = syn::parse_str::<syn::LitStr>(&l.to_string())
            {
                out.push(s.value().trim().to_owned());
            }
        }
    }
    out.join("\n")
}
