//! What a field's type becomes in a row, and as an array. Types known by name are written plainly, so that hovers and
//! messages show `&str` and `Float64Array`; the rest goes through `Value`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::Type;

use crate::common::{Known, generic_args, last_segment};

/// The type in `TradeRow<'a>`, if it can be written plainly, and whether it mentions `'a`.
pub(super) fn plain(ty: &Type, span: Span) -> Option<(TokenStream, bool)> {
    let inner = || last_segment(ty).and_then(|s| generic_args(s).first().copied());
    Some(match Known::of(ty)? {
        Known::Float | Known::Int | Known::Bool | Known::Fixed => (ty.to_token_stream(), false),
        Known::Text => (quote_spanned!(span=> &'a str), true),
        Known::Bytes => (quote_spanned!(span=> &'a [u8]), true),
        Known::Dict if Known::of(inner()?) == Some(Known::Text) => (quote_spanned!(span=> &'a str), true),
        Known::Dict => return None,
        Known::List => {
            let item = inner()?;
            plain(item, span)?;
            (quote_spanned!(span=> ::sabot::__private::ListRef<'a, #item>), true)
        }
        Known::Option => {
            let (inner, borrows) = plain(inner()?, span)?;
            (quote_spanned!(span=> ::core::option::Option<#inner>), borrows)
        }
    })
}

/// The type in a row by way of `Value`.
pub(super) fn through(ty: &Type, span: Span) -> TokenStream {
    quote_spanned!(span=> <#ty as ::sabot::__private::Value>::Ref<'a>)
}

/// The Arrow array of the column.
pub(super) fn array(ty: &Type, span: Span) -> TokenStream {
    let name = last_segment(ty).map(|s| s.ident.to_string()).unwrap_or_default();
    let array = match name.as_str() {
        "f16" => "Float16Array",
        "f32" => "Float32Array",
        "f64" => "Float64Array",
        "i8" => "Int8Array",
        "i16" => "Int16Array",
        "i32" => "Int32Array",
        "i64" => "Int64Array",
        "u8" => "UInt8Array",
        "u16" => "UInt16Array",
        "u32" => "UInt32Array",
        "u64" => "UInt64Array",
        "bool" => "BooleanArray",
        "Str" => "StringViewArray",
        "Bytes" => "BinaryViewArray",
        "Date" => "Date32Array",
        "Option" => match last_segment(ty).and_then(|s| generic_args(s).first().copied()) {
            Some(inner) => return array_of_inner(ty, inner, span),
            None => "",
        },
        _ => "",
    };
    if array.is_empty() {
        return quote_spanned!(span=> <#ty as ::sabot::__private::Value>::Array);
    }
    let array = proc_macro2::Ident::new(array, span);
    quote_spanned!(span=> ::sabot::__private::arrow_array::#array)
}

fn array_of_inner(ty: &Type, inner: &Type, span: Span) -> TokenStream {
    match Known::of(inner) {
        Some(Known::Option) | None => quote_spanned!(span=> <#ty as ::sabot::__private::Value>::Array),
        Some(_) => array(inner, span),
    }
}
