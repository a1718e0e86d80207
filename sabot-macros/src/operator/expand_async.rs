//! `geo::__async(ip)`: a call that owns its arguments. They are copied, and the copies are lent to the function from within
//! the future, so that `&str` parameters need no `unsafe`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};

use super::model::{Function, Waiting};
use crate::common::{span_of, value_type};

/// For a function that is not async, a face that makes `.await` one error: that there is nothing to wait for.
pub(super) fn expand(f: &Function, good: bool) -> TokenStream {
    let ident = &f.sig.ident;
    if !f.waits() {
        let params = f.params.iter().map(|_| ours!(_: impl ::core::marker::Sized));
        return ours! {
            #[automatically_derived]
            #[allow(dead_code, missing_docs)]
            impl #ident {
                #[doc(hidden)]
                pub fn __async(#(#params),*) -> ::core::future::Pending<i64> { ::core::future::pending() }
            }
        };
    }
    if cfg!(not(feature = "async")) {
        return TokenStream::new();
    }
    let options = options(&f.about.options.waiting);
    let face = if good { face(f) } else { TokenStream::new() };
    ours! {
        #[automatically_derived]
        impl ::sabot::__private::AsyncItem for #ident {
            const OPTIONS: ::sabot::__private::AsyncOptions = #options;
        }
        #face
    }
}

fn options(w: &Waiting) -> TokenStream {
    let micros = |m: u64| ours!(::core::time::Duration::from_micros(#m));
    let mut set = TokenStream::new();
    if let Some(n) = w.max_in_flight {
        let n = n as usize;
        set.extend(ours!(max_in_flight: #n,));
    }
    if let Some(m) = w.timeout {
        let m = micros(m);
        set.extend(ours!(timeout: ::core::option::Option::Some(#m),));
    }
    if w.unordered {
        set.extend(ours!(ordered: false,));
    }
    if let Some(n) = w.retry {
        let n = n as u32;
        set.extend(ours!(retry: #n,));
    }
    if let Some(m) = w.retry_wait {
        let m = micros(m);
        set.extend(ours!(retry_wait: #m,));
    }
    ours!(::sabot::__private::AsyncOptions { #set ..::sabot::__private::AsyncOptions::DEFAULT })
}

fn face(f: &Function) -> TokenStream {
    let ident = &f.sig.ident;
    let lifetimes = f.sig.generics.lifetimes();
    let (mut params, mut copies, mut lent) = (Vec::new(), Vec::new(), Vec::new());
    for p in &f.params {
        let (Some(name), Some(value)) = (&p.ident, value_type(&p.ty)) else { return TokenStream::new() };
        let ty = &p.ty;
        params.push(ours!(#name: #ty));
        // a type that is not a column's is one error, at the type
        let place = Span::mixed_site().located_at(span_of(ty));
        copies.push(quote_spanned!(place=> let #name = <#value as ::sabot::__private::Value>::own(#name);));
        lent.push(quote_spanned!(place=> <#value as ::sabot::__private::Value>::borrow(&#name)));
    }
    let Some(returned) = f.returned().map(ToTokens::to_token_stream) else { return TokenStream::new() };
    // a call that may time out may fail, whatever the function says
    let (returned, call) = if f.only_times_out() {
        (ours!(::core::result::Result<#returned, ::core::convert::Infallible>), Some(ours!(::core::result::Result::Ok)))
    } else {
        (returned, None)
    };
    // what is wrong with the future (it is not `Send`) is said at the function's name
    let place = Span::mixed_site().located_at(ident.span());
    let face = Ident::new("__async", place);
    let future = quote_spanned!(place=> impl ::core::future::Future<Output = #returned> + ::core::marker::Send + use<>);
    let body = quote_spanned!(place=> async move { #call(#ident(#(#lent),*).await) });
    ours! {
        #[automatically_derived]
        #[allow(dead_code, missing_docs, clippy::manual_async_fn)]
        impl #ident {
            #[doc(hidden)]
            pub fn #face<#(#lifetimes),*>(#(#params),*) -> #future {
                #(#copies)*
                #body
            }
        }
    }
}
