//! `map(op)`, `map(op.await)`: parameters are bound to columns of the same name.
//!
//! Two private traits per parameter carry the messages: one says that the record has the column, the other that the
//! column has the type. Their texts hold literal names, because no generic message could.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::Type;

use super::model::{Function, Kind, Param};
use crate::common::{Known, bare, generic_args, last_segment, name_type, span_of, text, value_type};

/// Nothing if a parameter or the result is not one column value.
pub(super) fn expand(f: &Function) -> TokenStream {
    if !matches!(f.kind, Kind::Scalar | Kind::Predicate | Kind::Async) || !f.about.options.instances.is_empty() {
        return TokenStream::new();
    }
    let Some((out, stored)) = f.returned().and_then(result) else { return TokenStream::new() };
    let stored_as = stored.is_some();
    let mut traits = TokenStream::new();
    let (mut bounds, mut args) = (Vec::new(), Vec::new());
    let mut places = Vec::new();
    for (i, p) in f.params.iter().enumerate() {
        let (Some(name), Some(value)) = (&p.ident, value_type(&p.ty)) else { return TokenStream::new() };
        let place = format_ident!("W{i}", span = Span::mixed_site());
        let [has, is] =
            ["needs", "is"].map(|what| Ident::new(&format!("{}_{what}_{}", bare(&f.sig.ident), bare(name)), Span::mixed_site()));
        traits.extend(has_column(f, p, &bare(name), &has));
        traits.extend(is_type(f, p, &bare(name), &is, &value));
        bounds.extend(unknown(&p.ty, "Plain"));
        let column = format_ident!("V{i}", span = Span::mixed_site());
        bounds.push(ours!(R: #has<#place, #column>, #column: #is));
        args.push(ours!(<#column as #is>::take(<R as #has<#place, #column>>::get(&row))));
        places.push(ours!(#place, #column));
    }
    bounds.extend(stored);
    let list = places.iter().rev().fold(ours!(()), |rest, place| ours!(((#place), #rest)));
    let ident = &f.sig.ident;
    if f.kind == Kind::Async {
        let out = if f.only_times_out() { ours!(::sabot::__private::MayFail<#out>) } else { out };
        return ours! {
            #traits
            #[automatically_derived]
            impl<R: ::sabot::__private::Record, #(#places),*> ::sabot::__private::AsyncMap<R, #list, #out> for #ident
            where #(#bounds),*
            {
                fn call(row: &::sabot::__private::View<'_, R>) -> ::sabot::__private::Awaited<#out> {
                    let row = row.row();
                    let _ = &row;
                    ::sabot::__private::Awaited::call(#ident::__async(#(#args),*))
                }
            }
        };
    }
    let call = if stored_as {
        ours!(::sabot::__private::Stored::store(#ident(#(#args),*), make))
    } else {
        ours!(::sabot::__private::col::<#out, _>(make, #ident(#(#args),*)))
    };
    ours! {
        #traits
        #[automatically_derived]
        impl<R: ::sabot::__private::Record, #(#places),*> ::sabot::__private::MapOperator<R, #list, #out> for #ident
        where #(#bounds),*
        {
            #[inline(always)]
            fn call<'a>(row: &::sabot::__private::View<'a, R>, make: ::sabot::__private::Make<'a>) -> ::sabot::__private::Slot<'a, #out> {
                let row = row.row();
                let _ = &row;
                #call
            }
        }
    }
}

/// The result's column type; for a type that the macro does not know also the bound that says it is one.
fn result(ty: &Type) -> Option<(TokenStream, Option<TokenStream>)> {
    let value = value_type(ty)?;
    let fallible = last_segment(ty).is_some_and(|s| s.ident == "Result");
    let value = if fallible { ours!(::sabot::__private::MayFail<#value>) } else { value };
    if unknown(ty, "Stored").is_none() {
        return Some((value, None));
    }
    if fallible {
        return None;
    }
    let bound = Ident::new("Stored", Span::mixed_site().located_at(span_of(ty)));
    Some((
        quote_spanned!(bound.span()=> <#ty as ::sabot::__private::#bound>::V),
        Some(quote_spanned!(bound.span()=> #ty: ::sabot::__private::#bound)),
    ))
}

/// `usize: Plain` for a type that the macro does not know. If it is none, the compiler says so once, here, instead of once
/// for each use of it.
fn unknown(ty: &Type, what: &str) -> Option<TokenStream> {
    let segment = last_segment(ty)?;
    let args = generic_args(segment);
    match (segment.ident.to_string().as_str(), args.as_slice()) {
        ("Option" | "Result", [inner, ..]) => return unknown(inner, what),
        ("String" | "Cow" | "Vec" | "ListRef", _) => return None,
        _ if Known::of(ty).is_some() => return None,
        _ => {}
    }
    let bound = Ident::new(what, Span::mixed_site().located_at(span_of(ty)));
    Some(quote_spanned!(bound.span()=> #ty: ::sabot::__private::#bound))
}

fn waits(f: &Function) -> &'static str {
    if f.kind == Kind::Async { ".await" } else { "" }
}

/// `R` has a column of the parameter's name.
fn has_column(f: &Function, p: &Param, name: &str, has: &Ident) -> TokenStream {
    let (operator, ty) = (bare(&f.sig.ident), text(&p.ty));
    let message = format!("`{{Self}}` has no column `{name}: {ty}`, which operator `{operator}` reads");
    let label = format!("`{operator}` needs column `{name}: {ty}` here");
    let note = format!("bind it by hand: `with(|t| row {{{{ {operator}: {operator}(<expr>, ..){} }}}})`", waits(f));
    let column = name_type(name, Span::mixed_site());
    ours! {
        #[diagnostic::on_unimplemented(message = #message, label = #label, note = #note)]
        pub trait #has<W, V: ::sabot::__private::Value>: ::sabot::__private::Record {
            fn get<'a>(row: &<Self as ::sabot::__private::Record>::Row<'a>) -> <V as ::sabot::__private::Value>::Ref<'a>;
        }
        #[diagnostic::do_not_recommend]
        impl<R: ::sabot::__private::HasColumn<#column, W, V = V>, W, V: ::sabot::__private::Value> #has<W, V> for R {
            #[inline(always)]
            fn get<'a>(row: &<Self as ::sabot::__private::Record>::Row<'a>) -> <V as ::sabot::__private::Value>::Ref<'a> {
                <R as ::sabot::__private::HasColumn<#column, W>>::get(row)
            }
        }
    }
}

/// The column's type is the parameter's, or one that reads as it: text in a dictionary for `&str`, a column without
/// nulls for `Option`.
fn is_type(f: &Function, p: &Param, name: &str, is: &Ident, value: &TokenStream) -> TokenStream {
    let (operator, ty) = (bare(&f.sig.ident), text(&p.ty));
    let message = format!("column `{name}` is `{{Self}}`, but operator `{operator}` takes `{ty}`");
    let label = format!("`{operator}` takes `{name}: {ty}`");
    let note = format!(
        "convert it by hand: `with(|t| row {{{{ {operator}: {operator}(<expr>, ..){} }}}})`, where `t.{name}?` passes a null on",
        waits(f)
    );
    let optional = last_segment(&p.ty).filter(|s| s.ident == "Option").and_then(|s| generic_args(s).first().copied());
    let inner = optional.and_then(value_type);
    let (plain, is_option) = match &inner {
        Some(inner) => (inner.clone(), true),
        None => (value.clone(), false),
    };
    let plain_bound = unknown(&p.ty, "Plain").map(|b| ours!(where #b));
    let text_like = text(&plain) == "::sabot::__private::Str";
    let mut forms = vec![plain.clone()];
    if text_like {
        forms.push(ours!(::sabot::__private::Dict<::sabot::__private::Str>));
    }
    let mut impls = TokenStream::new();
    for form in &forms {
        let wrapped = if is_option { ours!(::core::option::Option::Some(value)) } else { ours!(value) };
        let mut one = |own: TokenStream, body: TokenStream| {
            impls.extend(ours! {
                impl #is for #own #plain_bound {
                    #[inline(always)]
                    fn take<'a>(value: <Self as ::sabot::__private::Value>::Ref<'a>) -> <#value as ::sabot::__private::Value>::Ref<'a> { #body }
                }
            });
        };
        one(form.clone(), wrapped);
        if is_option {
            one(ours!(::core::option::Option<#form>), ours!(value));
        }
    }
    ours! {
        #[diagnostic::on_unimplemented(message = #message, label = #label, note = #note)]
        pub trait #is: ::sabot::__private::Value #plain_bound {
            fn take<'a>(value: <Self as ::sabot::__private::Value>::Ref<'a>) -> <#value as ::sabot::__private::Value>::Ref<'a>;
        }
        #impls
    }
}
