//! `KeyedRows` beside an `impl` block, and `__keyed`, with which a pipeline calls `row`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::Signature;

use super::check_rows::{CALLED, Many, result};
use super::entry::{Facts, entry, inputs, typed};
use super::model::{Aggregate, params_of};
use crate::common::{bare, value_type};

pub(super) fn expand(a: &Aggregate, good: bool) -> TokenStream {
    if a.of_trait.is_some() || !a.generics.params.is_empty() {
        return TokenStream::new();
    }
    let ty = &a.ty;
    let Some(row) = a.method("row") else { return TokenStream::new() };
    let all = params_of(row);
    let columns: Vec<_> = all.iter().filter(|p| !p.is_ctx()).collect();
    let returns = CALLED.iter().filter_map(|n| a.method(n)).find_map(|m| result(m).1);
    let facts = Facts { kind: "Keyed", total: false, fallible: false, tier: "Batches" };
    let entry = entry(&a.about, &bare(&a.ident), &facts, &inputs(columns.iter().copied(), &[]), &typed("", returns, &[]));
    let out = returns.and_then(value_type).unwrap_or_else(|| ours!(bool));
    let sides = CALLED.iter().filter_map(|n| a.method(n)).flat_map(params_of);
    let side = sides.filter_map(|p| p.side().map(ToTokens::to_token_stream)).next().unwrap_or_else(|| ours!(::sabot::__private::NoSide));
    let takes = |name: &str| a.method(name).is_some();
    let (timer, clock_timer) = (takes("timer"), takes("clock_timer"));
    let timers = if timer { ours!(EventTimers) } else { ours!(NoTimers) };
    let callbacks: TokenStream =
        ["timer", "clock_timer"].iter().filter_map(|n| a.method(n)).map(|m| callback(m, &out, &side, good)).collect();

    let names = columns.iter().filter_map(|p| p.ident.as_ref().map(|i| (i, &p.ty)));
    let params = names.map(|(i, ty)| ours!(#i: #ty));
    let args = all.iter().map(|p| if p.is_ctx() { ours!(ctx) } else { p.ident.to_token_stream() });
    let call = if good { ours!(<#ty>::row(state, #(#args),*)) } else { ours!(::core::unreachable!()) };
    let call = if good { push(row, &call, &out) } else { call };
    let face = Ident::new("__keyed", Span::mixed_site().located_at(row.ident.span()));
    let lifetimes: Vec<TokenStream> = row.generics.lifetimes().map(ToTokens::to_token_stream).collect();
    // a missing `State` is then one error, here
    let state = quote_spanned!(Span::mixed_site().located_at(a.ident.span())=> #ty: ::sabot::__private::State);
    ours! {
        #[doc(hidden)]
        #[allow(non_snake_case, trivial_bounds, private_interfaces, clippy::all, clippy::pedantic)]
        const _: () = {
            const __ENTRY: ::sabot::__private::OperatorEntry = #entry;
            #[automatically_derived]
            impl ::sabot::__private::KeyedRows for #ty where #state {
                type Out = #out;
                type Side = #side;
                type Timers = ::sabot::__private::#timers;
                const ENTRY: ::sabot::__private::OperatorEntry = __ENTRY;
                const TIMER: bool = #timer;
                const CLOCK_TIMER: bool = #clock_timer;
                #callbacks
            }
            #[automatically_derived]
            #[allow(unused_variables, dead_code, missing_docs)]
            impl #ty {
                #[doc(hidden)]
                #[inline]
                pub fn #face<#(#lifetimes),*>(
                    state: &mut #ty, ctx: &mut ::sabot::__private::KeyCtx<#side>, out: &mut ::std::vec::Vec<#out>, #(#params),*
                ) { #call }
            }
            ::sabot::__private::inventory::submit! { __ENTRY }
        };
    }
}

/// `timer` or `clock_timer`.
fn callback(m: &Signature, out: &TokenStream, side: &TokenStream, good: bool) -> TokenStream {
    let name = &m.ident;
    let name = Ident::new(&name.to_string(), Span::mixed_site());
    let args = params_of(m);
    let args = args.iter().map(|p| if p.is_ctx() { ours!(ctx) } else { ours!(at) });
    let call = ours!(Self::#name(self, #(#args),*));
    let call = if good { push(m, &call, out) } else { ours!(::core::unreachable!()) };
    ours! {
        #[allow(unused_variables)]
        fn #name(
            &mut self, ctx: &mut ::sabot::__private::KeyCtx<#side>,
            at: ::sabot::__private::Timestamp<::sabot::__private::Micros>, out: &mut ::std::vec::Vec<#out>,
        ) { #call }
    }
}

/// Puts what a call returns behind `out`.
fn push(m: &Signature, call: &TokenStream, out: &TokenStream) -> TokenStream {
    let value = ours!(::sabot::__private::Finish::<#out>::value);
    match result(m).0 {
        Many::None => ours!(#call;),
        Many::Optional => ours!(if let ::core::option::Option::Some(value) = #call { out.push(#value(value)); }),
        Many::Any => ours!(out.extend(::core::iter::IntoIterator::into_iter(#call).map(#value));),
        Many::One => ours!(out.push(#value(#call));),
    }
}
