//! The generated item: a function to run the pipeline in a program, a type of the same name that registers it, and the
//! builder calls that make its graph.

use std::collections::BTreeMap;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

use super::check::{check, used};
use super::model::{Head, Pipeline, Stmt};
use super::simple::{constant_name, primitive};
use super::steps::{Cx, Known, NOTES, ROW_WISE, id};
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
        params: values.iter().map(|p| p.name.clone()).collect(),
        pipeline: pipeline.name.as_ref().map(ToString::to_string).unwrap_or_default(),
        primitives: values.iter().filter(|p| primitive(&p.ty)).map(|p| p.name.clone()).collect(),
        streams: sources.iter().map(|p| (p.name.to_string(), Known::default())).collect(),
        continues: pipeline.stmts.iter().filter_map(|s| s.name.as_ref()).map(|n| (n.to_string(), continues(pipeline, n, &used))).collect(),
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
            cx.streams.insert(n.to_string(), Known::default());
            body.extend(quote!(let #n = #broken;));
            continue;
        }
        let label = label_of(stmt, cx.count);
        let name = label.to_string();
        let open = cx.continues.get(&name).copied().unwrap_or(false);
        let ends = stmt.chain.steps.last().and_then(|s| s.name.as_ref()).is_some_and(|n| n == "sink");
        let (code, known) = cx.chain(&stmt.chain, &label, open && !ends);
        body.extend(quote!(#g.stream(#name);));
        match &stmt.name {
            Some(n) if !ends => {
                let value = if known.open { quote!((#s, #p)) } else { quote!(#s) };
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
        _ => format_ident!("stream_{}", n),
    }
}

/// Whether the one use of a stream begins with a row-wise step, so that its run goes on.
fn continues(pipeline: &Pipeline, name: &Ident, used: &BTreeMap<String, usize>) -> bool {
    used.get(&name.to_string()) == Some(&1)
        && pipeline.stmts.iter().any(|s| {
            matches!(&s.chain.head, Head::Stream(n) if n == name)
                && s.chain.steps.first().and_then(|s| s.name.as_ref()).is_some_and(|n| {
                    ROW_WISE.contains(&n.to_string().as_str()) || n == "aggregate" || NOTES.contains(&n.to_string().as_str())
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
                    quote!(#n: impl ::core::convert::Into<#p::Source<#record, #b>>)
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
        #[doc = #diagram]
        #[allow(clippy::too_many_arguments)]
        #vis fn #name(#(#args),*) -> #p::Job {
            #p::Job::new(&<#name as #p::PipelineItem>::ENTRY, #p::Params::new() #(.with(#value_texts, &#value_names))*, |__g| <#name>::__build(__g #(, #value_names)*))
                #(.source(#source_texts, #source_names))*
        }
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
