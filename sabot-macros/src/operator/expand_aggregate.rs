//! `Aggregate` beside an `impl` block, and `__inputs`, with which a pipeline checks the arguments.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote_spanned};

use super::entry::{Facts, entry, inputs, typed};
use super::model::{Aggregate, Param, params_of, returned};
use crate::common::{bare, name_lifetimes, value_type};

pub(super) fn expand(a: &Aggregate) -> TokenStream {
    if a.of_trait.is_some() || !a.generics.params.is_empty() {
        return TokenStream::new();
    }
    let ty = &a.ty;
    let update = a.method("update");
    let params = update.map(params_of).unwrap_or_default();
    let finish = a.method("finish").and_then(returned);
    let facts = Facts { kind: "Aggregate", total: false, fallible: false, tier: "Batches" };
    let entry = entry(&a.about, &bare(&a.ident), &facts, &inputs(params.iter(), &[]), &typed("", finish, &[]));
    let Some(values) = params.iter().map(|p| value_type(&p.ty)).collect::<Option<Vec<_>>>() else { return TokenStream::new() };
    let args = values.iter().rev().fold(ours!(()), |rest, v| ours!((#v, #rest)));
    let out = finish.and_then(value_type).unwrap_or_else(|| ours!(bool));
    let inputs = self::inputs_face(a, update.map(|u| &u.ident), &params);

    let names: Vec<_> = (0..params.len()).map(|i| format_ident!("a{i}", span = Span::mixed_site())).collect();
    let unpack = names.iter().rev().fold(ours!(()), |rest, n| ours!((#n, #rest)));
    let refs = ours!(<Self::Args as ::sabot::__private::Values>::Refs<'_>);
    // what is missing is an error already; nothing further shall be said about it
    let call = |name: &str| {
        let method = Ident::new(name, Span::mixed_site());
        if a.method(name).is_some() { ours!(let #unpack = args; <Self>::#method(self, #(#names),*);) } else { ours!(let _ = args;) }
    };
    let (update, retract) = (call("update"), call("retract"));
    let retracts = a.method("retract").map(|_| {
        ours! {
            const RETRACTS: bool = true;
            fn retract(&mut self, args: #refs) { #retract }
        }
    });
    let merge = if a.method("merge").is_some() { ours!(<Self>::merge(self, other);) } else { ours!(let _ = other;) };
    let finish = if finish.is_some() {
        ours!(::sabot::__private::Finish::<#out>::value(<Self>::finish(self)))
    } else {
        ours!(::core::unreachable!())
    };
    // a missing `State` is then one error, here
    let state = quote_spanned!(Span::mixed_site().located_at(a.ident.span())=> #ty: ::sabot::__private::State);
    let marker = a.method("retract").map(|_| {
        ours! {
            #[automatically_derived]
            impl ::sabot::__private::Retracts for #ty where #state {}
        }
    });
    ours! {
        #[doc(hidden)]
        #[allow(non_snake_case, trivial_bounds, private_interfaces, clippy::all, clippy::pedantic)]
        const _: () = {
            #inputs
            const __ENTRY: ::sabot::__private::OperatorEntry = #entry;
            #[automatically_derived]
            impl ::sabot::__private::Aggregate for #ty where #state {
                type Args = #args;
                type Out = #out;
                const ENTRY: ::sabot::__private::OperatorEntry = __ENTRY;
                #[inline]
                fn update(&mut self, args: #refs) { #update }
                #retracts
                fn merge(&mut self, other: Self) { #merge }
                fn finish(&self) -> Self::Out { #finish }
            }
            #marker
            ::sabot::__private::inventory::submit! { __ENTRY }
        };
    }
}

/// The parameters of `update`, as the user wrote them: a wrong argument is an error of rustc's own, at the argument.
fn inputs_face(a: &Aggregate, update: Option<&Ident>, params: &[Param]) -> TokenStream {
    let ty = &a.ty;
    let at = update.map_or_else(Span::mixed_site, |u| Span::mixed_site().located_at(u.span()));
    let face = Ident::new("__inputs", at);
    let written: Vec<_> = params.iter().map(|p| name_lifetimes(p.ty.to_token_stream(), "'__i")).collect();
    let names: Vec<_> = params
        .iter()
        .enumerate()
        .map(|(i, p)| p.ident.clone().unwrap_or_else(|| format_ident!("a{i}", span = Span::mixed_site())))
        .collect();
    let own = a.method("update").into_iter().flat_map(|u| u.generics.lifetimes()).map(ToTokens::to_token_stream);
    let lifetimes: Vec<_> = own.chain([ours!('__i)]).collect();
    let types = written.iter().rev().fold(ours!(()), |rest, t| ours!((#t, #rest)));
    let values = names.iter().rev().fold(ours!(()), |rest, n| ours!((#n, #rest)));
    ours! {
        #[automatically_derived]
        #[allow(dead_code, missing_docs)]
        impl #ty {
            #[doc(hidden)]
            #[inline(always)]
            pub fn #face<#(#lifetimes),*>(#(#names: #written),*) -> #types { #values }
        }
    }
}
