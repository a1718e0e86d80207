//! The two faces of a function: the function itself, untouched, and a type of the same name.

use proc_macro2::{Ident, Span, TokenStream};
use quote::ToTokens;

use super::entry::{entry, facts, inputs, stable_name, typed};
use super::expand_map;
use super::model::{Function, Kind, Role};
use crate::common::{bare, elided, last_segment, name_lifetimes, substitute, text};

/// `good`: the function can be called as an operator; if not, only its names are there.
pub(super) fn expand(f: &Function, item: TokenStream, good: bool) -> TokenStream {
    let (ident, vis) = (&f.sig.ident, &f.vis);
    let name = bare(ident);
    let inline = (matches!(f.kind, Kind::Scalar | Kind::Predicate) && !f.inline).then(|| ours!(#[inline]));
    let doc = if f.about.doc.is_empty() { format!("Operator `{name}`.") } else { f.about.doc.clone() };
    let entry = entry(&f.about, &name, &facts(f), &inputs(f.columns(), &[]), &typed("", f.returned(), &[]));
    let registered = registered(f, good);
    let keyed = if f.kind == Kind::Keyed { keyed(f, good) } else { not_keyed(f) };
    let waits = super::expand_async::expand(f, good);
    let batch = (f.kind == Kind::Batch && good).then(|| batch(f));
    let map = good.then(|| expand_map::expand(f));
    ours! {
        #inline
        #item

        // examples in the text are tested once, with the function
        #[cfg_attr(not(doctest), doc = #doc)]
        #[cfg_attr(doctest, doc = "")]
        #[allow(non_camel_case_types, dead_code)]
        #vis enum #ident {}
        #[doc(hidden)]
        #[allow(non_camel_case_types, non_snake_case, trivial_bounds, private_bounds, private_interfaces, clippy::all, clippy::pedantic)]
        const _: () = {
            #[automatically_derived]
            impl ::sabot::__private::OperatorItem for #ident {
                const ENTRY: ::sabot::__private::OperatorEntry = #entry;
            }
            #registered
            #keyed
            #waits
            #batch
            #map
        };
    }
}

/// Entries of the registry: one, or one per instance of a generic function.
fn registered(f: &Function, good: bool) -> TokenStream {
    let ident = &f.sig.ident;
    let instances = f.instances();
    if instances.is_empty() {
        return ours!(::sabot::__private::inventory::submit! { <#ident as ::sabot::__private::OperatorItem>::ENTRY });
    }
    let mut out = TokenStream::new();
    for instance in &instances {
        let types: Vec<_> = instance.iter().map(|(_, t)| text(t)).collect();
        let name = stable_name(&f.about, &bare(ident), &format!("<{}>", types.join(", ")));
        let inputs = inputs(f.columns(), instance);
        let output = typed("", f.returned(), instance);
        out.extend(ours! {
            ::sabot::__private::inventory::submit! {
                ::sabot::__private::OperatorEntry { name: #name, inputs: #inputs, output: #output, ..<#ident as ::sabot::__private::OperatorItem>::ENTRY }
            }
        });
        if good {
            out.extend(proof(f, instance));
        }
    }
    out
}

/// That the instance exists: `double::<i32>` takes an `i32`.
fn proof(f: &Function, instance: &[(Ident, TokenStream)]) -> TokenStream {
    let ident = &f.sig.ident;
    // in the order of the function's own list
    let args: Vec<_> = f
        .sig
        .generics
        .params
        .iter()
        .filter_map(|p| match p {
            syn::GenericParam::Type(t) => Some(&t.ident),
            syn::GenericParam::Const(c) => Some(&c.ident),
            syn::GenericParam::Lifetime(_) => None,
        })
        .map(|name| substitute(name.to_token_stream(), instance))
        .collect();
    let params = f.params.iter().map(|_| ours!(_));
    ours!(const _: fn() = || { let _: fn(#(#params),*) -> _ = #ident::<#(#args),*>; };)
}

/// `__keyed` of an operator that is not keyed: `keyed(|t| notional(..))` is then one error, that it keeps no state.
fn not_keyed(f: &Function) -> TokenStream {
    let ident = &f.sig.ident;
    let params = f.params.iter().map(|_| ours!(_: impl ::core::marker::Sized));
    ours! {
        #[automatically_derived]
        #[allow(dead_code, missing_docs)]
        impl #ident {
            #[doc(hidden)]
            pub fn __keyed<T>(_: &mut (), _: &mut ::sabot::__private::KeyCtx, #(#params),*) -> ::core::option::Option<T> { ::core::option::Option::None }
        }
    }
}

/// `bursts::__keyed(state, ctx, ..)`: the state first, the context second, whatever order the user wrote.
fn keyed(f: &Function, good: bool) -> TokenStream {
    let ident = &f.sig.ident;
    let Some(state) = f.params.iter().find(|p| p.role == Role::State) else { return TokenStream::new() };
    let syn::Type::Reference(reference) = &state.ty else { return TokenStream::new() };
    let state_type = &reference.elem;
    let mut state = state.ty.to_token_stream();
    let mut output = f.sig.output.to_token_stream();
    let mut lifetimes: Vec<TokenStream> = f.sig.generics.lifetimes().map(ToTokens::to_token_stream).collect();
    if elided(&output) {
        // it can only be the state's
        (state, output) = (name_lifetimes(state, "'__s"), name_lifetimes(output, "'__s"));
        lifetimes.push(ours!('__s));
    }
    let columns = f.columns().filter_map(|p| p.ident.as_ref().map(|i| (i, &p.ty)));
    let params = columns.map(|(i, ty)| ours!(#i: #ty));
    let args = f.params.iter().map(|p| match p.role {
        Role::State => ours!(state),
        Role::Ctx => ours!(ctx),
        Role::Column => p.ident.to_token_stream(),
    });
    let side = f.params.iter().filter(|p| p.role == Role::Ctx).find_map(|p| p.side());
    let side = side.map_or_else(|| ours!(::sabot::__private::NoSide), ToTokens::to_token_stream);
    let face = Ident::new("__keyed", Span::mixed_site().located_at(ident.span()));
    let body = if good { ours!(#ident(#(#args),*)) } else { ours!(::core::unreachable!()) };
    // `None` emits nothing; any other result is always emitted
    let optional = f.returned().and_then(last_segment).is_some_and(|s| s.ident == "Option");
    let (output, body) = match f.returned() {
        Some(returned) if !optional && good => {
            let returned = if elided(&f.sig.output.to_token_stream()) {
                name_lifetimes(returned.to_token_stream(), "'__s")
            } else {
                returned.to_token_stream()
            };
            (ours!(-> ::core::option::Option<#returned>), ours!(::core::option::Option::Some(#body)))
        }
        _ => (output, body),
    };
    ours! {
        #[automatically_derived]
        impl ::sabot::__private::KeyedItem for #ident {
            type State = #state_type;
            type Side = #side;
        }
        #[automatically_derived]
        #[allow(unused_variables, dead_code, missing_docs)]
        impl #ident {
            #[doc(hidden)]
            #[inline]
            pub fn #face<#(#lifetimes),*>(state: #state, ctx: &mut ::sabot::__private::KeyCtx<#side>, #(#params),*) #output { #body }
        }
    }
}

fn batch(f: &Function) -> TokenStream {
    let ident = &f.sig.ident;
    let (Some(record), Some(returned)) = (f.params.first().and_then(|p| p.batch_record()), f.returned()) else { return TokenStream::new() };
    let result = last_segment(returned).filter(|s| s.ident == "Result").and_then(|s| crate::common::generic_args(s).first().copied());
    let (array, call) = match result {
        Some(array) => (array, ours!(#ident(batch).map_err(|error| ::std::string::ToString::to_string(&error)))),
        None => (returned, ours!(::core::result::Result::Ok(#ident(batch)))),
    };
    ours! {
        #[automatically_derived]
        impl ::sabot::__private::BatchItem for #ident {
            type In = #record;
            type Array = #array;
            fn call(batch: &::sabot::__private::Batch<Self::In>) -> ::core::result::Result<Self::Array, ::std::string::String> { #call }
        }
    }
}
