//! The implementation of `State`.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

use super::model::State;
use crate::common::{bare, span_of};

pub(super) fn expand(state: &State) -> TokenStream {
    let State { ident, fields } = state;
    let name = bare(ident);
    let idents: Vec<_> = fields.iter().map(|(i, _)| i).collect();
    let names: Vec<_> = fields.iter().map(|(i, _)| bare(i)).collect();
    let states: Vec<_> = fields
        .iter()
        .map(|(_, ty)| {
            let span = Span::mixed_site().located_at(span_of(ty));
            quote_spanned!(span=> <#ty as ::sabot::__private::State>)
        })
        .collect();
    // a missing `Default` is then one error, here
    let default = quote_spanned!(Span::mixed_site().located_at(ident.span())=> #ident: ::core::default::Default);
    ours! {
        #[automatically_derived]
        #[allow(trivial_bounds, unused_mut, unused_variables, clippy::match_single_binding, clippy::field_reassign_with_default)]
        impl ::sabot::__private::State for #ident where #default {
            fn type_name() -> ::std::string::String {
                ::sabot::__private::struct_name(&<Self as ::sabot::__private::State>::schema())
            }
            fn schema() -> ::sabot::__private::StateSchema {
                ::std::vec![#(::sabot::__private::StateField { name: ::std::string::String::from(#names), type_name: #states::type_name() }),*]
            }
            fn encode(&self, out: &mut ::std::vec::Vec<u8>) {
                #(#states::encode(&self.#idents, out);)*
            }
            fn decode(from: &mut &[u8]) -> ::sabot::Result<Self> {
                let mut out = <Self as ::core::default::Default>::default();
                #(out.#idents = #states::decode(from)?;)*
                ::core::result::Result::Ok(out)
            }
            fn decode_from(from: &mut &[u8], written: &::sabot::__private::StateSchema) -> ::sabot::Result<Self> {
                let now = <Self as ::sabot::__private::State>::schema();
                let mut out = <Self as ::core::default::Default>::default();
                for field in written {
                    if !now.contains(field) {
                        return ::core::result::Result::Err(::sabot::__private::unknown_field(#name, field, &now));
                    }
                    match field.name.as_str() {
                        #(#names => out.#idents = #states::decode(from)?,)*
                        _ => {}
                    }
                }
                ::core::result::Result::Ok(out)
            }
        }
    }
}
