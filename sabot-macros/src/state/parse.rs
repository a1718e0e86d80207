//! From the item to the model, and what syntax alone can tell.

use proc_macro2::TokenStream;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields};

use super::model::State;
use crate::common::Errors;

/// `None` if nothing can be generated.
pub(super) fn parse(item: TokenStream, errors: &mut Errors) -> Option<State> {
    let item: DeriveInput = match syn::parse2(item) {
        Ok(item) => item,
        Err(error) => {
            errors.syn(&error);
            return None;
        }
    };
    let name = item.ident;
    let fields = match item.data {
        Data::Struct(s) => match s.fields {
            Fields::Named(f) => f.named.into_iter().filter_map(|f| Some((f.ident?, f.ty))).collect(),
            Fields::Unit => Vec::new(),
            Fields::Unnamed(_) => {
                errors.at(
                    name.span(),
                    format!("state needs named fields, which are matched by name on restore: write `struct {name} {{ field: Type, .. }}`"),
                );
                Vec::new()
            }
        },
        Data::Enum(_) | Data::Union(_) => {
            errors.at(name.span(), "state needs named fields, which are matched by name on restore, so it is a struct");
            Vec::new()
        }
    };
    if let Some(first) = item.generics.params.first() {
        errors.at(first.span(), "state has a fixed type: write one struct per type");
        return None;
    }
    Some(State { ident: name, fields })
}

#[cfg(test)]
mod tests {
    use crate::common::Errors;

    #[test]
    fn items() {
        for (item, part) in [
            ("struct S { a: i64 }", ""),
            ("struct S;", ""),
            ("struct S(i64);", "named fields"),
            ("enum S { A }", "named fields"),
            ("struct S<T> { a: T }", "fixed type"),
        ] {
            let mut errors = Errors::default();
            super::parse(item.parse().unwrap(), &mut errors);
            let found = errors.messages().join("|");
            assert!(if part.is_empty() { found.is_empty() } else { found.contains(part) }, "{item}: {found}");
        }
    }
}
