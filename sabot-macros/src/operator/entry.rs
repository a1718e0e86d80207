//! The registry entry.

use proc_macro2::TokenStream;
use syn::Type;

use super::model::{About, Function, Kind, Param};
use super::total::obvious;
use crate::common::{Known, bare, last_segment, substitute, text};

/// What an entry says beside names and types.
pub(super) struct Facts {
    pub(super) kind: &'static str,
    pub(super) total: bool,
    pub(super) fallible: bool,
    pub(super) tier: &'static str,
}

pub(super) fn facts(f: &Function) -> Facts {
    let kind = match f.kind {
        Kind::Scalar => "Scalar",
        Kind::Predicate => "Predicate",
        Kind::FlatMap => "FlatMap",
        Kind::Keyed => "Keyed",
        Kind::Batch => "Batch",
        Kind::Async => "Async",
    };
    let row_wise = matches!(f.kind, Kind::Scalar | Kind::Predicate);
    let fallible = f.returned().and_then(last_segment).is_some_and(|s| s.ident == "Result");
    let total = row_wise && (f.about.options.total.is_some() || (f.about.options.instances.is_empty() && obvious(&f.params, &f.body)));
    let fixed = f.columns().all(|p| Known::fixed(&p.ty)) && f.returned().is_some_and(Known::fixed);
    let tier = match f.kind {
        Kind::Keyed | Kind::Batch | Kind::Async => "Batches",
        _ if total && fixed => "Lanes",
        _ => "Rows",
    };
    Facts { kind, total, fallible, tier }
}

/// The stable name: `concat!(module_path!(), "::", name)`, or what the user chose.
pub(super) fn stable_name(about: &About, ident: &str, suffix: &str) -> TokenStream {
    match &about.options.name {
        Some(name) => {
            let name = format!("{name}{suffix}");
            ours!(#name)
        }
        None => {
            let name = format!("::{ident}{suffix}");
            ours!(::core::concat!(::core::module_path!(), #name))
        }
    }
}

/// `Typed { name, rust_type, nullable }`.
pub(super) fn typed(name: &str, ty: Option<&Type>, instance: &[(proc_macro2::Ident, TokenStream)]) -> TokenStream {
    let (rust_type, nullable) = match ty {
        Some(ty) => (text(&substitute(quote::ToTokens::to_token_stream(ty), instance)), nullable(ty)),
        None => ("()".to_owned(), false),
    };
    ours!(::sabot::__private::Typed { name: #name, rust_type: #rust_type, nullable: #nullable })
}

fn nullable(ty: &Type) -> bool {
    let Some(segment) = last_segment(ty) else { return false };
    match segment.ident.to_string().as_str() {
        "Option" => true,
        "Result" => crate::common::generic_args(segment).first().is_some_and(|t| nullable(t)),
        _ => false,
    }
}

pub(super) fn inputs<'a>(params: impl Iterator<Item = &'a Param>, instance: &[(proc_macro2::Ident, TokenStream)]) -> TokenStream {
    let all = params.map(|p| typed(&p.ident.as_ref().map_or_else(String::new, bare), Some(&p.ty), instance));
    ours!(&[#(#all),*])
}

/// The whole entry.
pub(super) fn entry(about: &About, ident: &str, facts: &Facts, inputs: &TokenStream, output: &TokenStream) -> TokenStream {
    let name = stable_name(about, ident, "");
    let kind = proc_macro2::Ident::new(facts.kind, proc_macro2::Span::mixed_site());
    let tier = proc_macro2::Ident::new(facts.tier, proc_macro2::Span::mixed_site());
    let (total, fallible, volatile) = (facts.total, facts.fallible, about.options.volatile.is_some());
    let (doc, hash) = (&about.doc, about.hash);
    let (line, end_line) = (about.place.line, about.place.end_line);
    ours! {
        ::sabot::__private::OperatorEntry {
            name: #name,
            ident: #ident,
            kind: ::sabot::__private::OperatorKind::#kind,
            inputs: #inputs,
            output: #output,
            doc: #doc,
            total: #total,
            volatile: #volatile,
            fallible: #fallible,
            tier: ::sabot::__private::Tier::#tier,
            file: ::core::file!(),
            line: #line,
            end_line: #end_line,
            hash: #hash,
        }
    }
}
