//! From the item to the model.

use proc_macro2::TokenStream;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Fields, GenericParam, Meta};

use super::model::{Field, Record, Shape};
use crate::common::{Case, Errors, Opt, bare, doc_or, options, text_of};

/// `None` only if the item is no struct, enum or union at all.
pub(super) fn parse(item: TokenStream, errors: &mut Errors) -> Option<Record> {
    let item: DeriveInput = match syn::parse2(item) {
        Ok(item) => item,
        Err(error) => {
            errors.syn(&error);
            return None;
        }
    };
    let case = rename_all(&item.attrs, errors);
    let (mut shape, fields) = match item.data {
        Data::Struct(s) => match s.fields {
            Fields::Named(f) if f.named.is_empty() => (Shape::Empty, Vec::new()),
            Fields::Named(f) => (Shape::Named, f.named.into_iter().collect()),
            Fields::Unit => (Shape::Empty, Vec::new()),
            Fields::Unnamed(_) => (Shape::Tuple, Vec::new()),
        },
        Data::Enum(_) | Data::Union(_) => (Shape::NoStruct, Vec::new()),
    };
    if let Some(first) = item.generics.params.first() {
        shape = Shape::Generic(first.span(), matches!(first, GenericParam::Lifetime(_)));
    }
    let fields = fields.into_iter().filter_map(|f| field(f, case, errors)).collect();
    Some(Record { vis: item.vis, ident: item.ident, fields, shape })
}

fn field(field: syn::Field, case: Option<Case>, errors: &mut Errors) -> Option<Field> {
    let ident = field.ident?;
    let own = bare(&ident);
    let mut name = case.map_or_else(|| own.clone(), |c| c.apply(&own));
    let mut event_time = None;
    for attr in &field.attrs {
        if attr.path().is_ident("event_time") {
            if !matches!(attr.meta, Meta::Path(_)) {
                errors.at(attr.span(), "`#[event_time]` takes no options");
            }
            event_time = Some(attr.path().span());
        }
    }
    for option in record_options(&field.attrs, errors) {
        match option.key().as_str() {
            "rename" => name = text_of(&option, "rename = \"venueId\"", errors).unwrap_or(name),
            "event_time" => errors.at(option.span(), "write `#[event_time]` on the field, without `record(..)`"),
            "rename_all" => errors.at(option.span(), "`rename_all` belongs on the struct; a field has `rename = \"..\"`"),
            other => errors.at(option.span(), format!("unknown option `{other}`; a field has `rename = \"..\"`")),
        }
    }
    let doc = doc_or(&field.attrs, format!("Column `{name}`."));
    Some(Field { vis: field.vis, ident, ty: field.ty, name, event_time, doc })
}

fn rename_all(attrs: &[Attribute], errors: &mut Errors) -> Option<Case> {
    let mut case = None;
    for option in record_options(attrs, errors) {
        match option.key().as_str() {
            "rename_all" => {
                if let Some(name) = text_of(&option, "rename_all = \"camelCase\"", errors) {
                    case = Case::parse(&name);
                    if case.is_none() {
                        let known: Vec<_> = Case::ALL.iter().map(|(n, _)| format!("`{n}`")).collect();
                        errors.at(option.span(), format!("unknown convention `{name}`; known are {}", known.join(", ")));
                    }
                }
            }
            "rename" => errors.at(option.span(), "`rename` belongs on a field; a struct has `rename_all = \"..\"`"),
            other => errors.at(option.span(), format!("unknown option `{other}`; a record has `rename_all = \"..\"`")),
        }
    }
    case
}

fn record_options(attrs: &[Attribute], errors: &mut Errors) -> Vec<Opt> {
    let mut out = Vec::new();
    for attr in attrs.iter().filter(|a| a.path().is_ident("record")) {
        match &attr.meta {
            Meta::List(list) => out.extend(options(list.tokens.clone(), errors)),
            other => errors.at(other.span(), "expected options: `#[record(rename = \"..\")]`"),
        }
    }
    out
}
