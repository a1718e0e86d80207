//! From the item to the model.

use proc_macro2::TokenStream;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Fields, GenericParam, Meta, Type};

use super::model::{Field, Record, Shape};
use super::schema::SchemaFile;
use crate::common::{Case, Errors, Opt, bare, doc_or, generic_args, last_segment, options, span_of, text, text_of};

/// `None` only if the item is no struct, enum or union at all.
pub(super) fn parse(item: TokenStream, errors: &mut Errors) -> Option<Record> {
    let item: DeriveInput = match syn::parse2(item) {
        Ok(item) => item,
        Err(error) => {
            errors.syn(&error);
            return None;
        }
    };
    let (case, schema) = struct_options(&item.attrs, errors);
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
    let written: Vec<String> = fields.iter().map(|f| text(&f.ty)).collect();
    let fields: Vec<Field> = fields.into_iter().filter_map(|f| field(f, case, errors)).collect();
    let misread = fields.iter().zip(&written).any(|(f, w)| text(&f.ty) != *w);
    Some(Record { vis: item.vis, ident: item.ident, fields, misread, schema, shape })
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
    let ty = meant(field.ty, errors);
    let doc = doc_or(&field.attrs, format!("Column `{name}`."));
    Some(Field { vis: field.vis, ident, ty, name, event_time, doc })
}

fn struct_options(attrs: &[Attribute], errors: &mut Errors) -> (Option<Case>, Option<SchemaFile>) {
    let (mut case, mut schema) = (None, None);
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
            "schema" => {
                let path = text_of(&option, "schema = \"schemas/trade.json\"", errors);
                schema = path.map(|path| SchemaFile { path, span: option.value.as_ref().map_or(option.span(), span_of) });
            }
            "rename" => errors.at(option.span(), "`rename` belongs on a field; a struct has `rename_all = \"..\"`"),
            other => {
                errors.at(option.span(), format!("unknown option `{other}`; a record has `rename_all = \"..\"` and `schema = \"..\"`"))
            }
        }
    }
    (case, schema)
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

/// The column type that was meant by a type of the standard library, `Str` by `String`; says so.
fn meant(ty: Type, errors: &mut Errors) -> Type {
    let (inner, optional) = match last_segment(&ty).filter(|s| s.ident == "Option").and_then(|s| generic_args(s).first().copied()) {
        Some(inner) => (inner, true),
        None => (&ty, false),
    };
    let segment = last_segment(inner);
    let args = segment.map(generic_args).unwrap_or_default();
    let item = args.first().map(text).unwrap_or_default();
    let (column, why) = match segment.map(|s| s.ident.to_string()).as_deref() {
        Some("String") => ("Str".to_owned(), "a column of text is `Str`"),
        Some("Vec") if item == "u8" => ("Bytes".to_owned(), "a column of bytes is `Bytes`"),
        Some("Vec") if !item.is_empty() => (format!("List<{item}>"), "a column of lists is `List`"),
        Some("usize") => ("u64".to_owned(), "a column has the same width on every machine"),
        Some("isize") => ("i64".to_owned(), "a column has the same width on every machine"),
        _ => return ty,
    };
    errors.at(span_of(inner), format!("{why}: write `{column}` instead of `{}`", text(inner)));
    let here = proc_macro2::Span::mixed_site().located_at(span_of(inner));
    let private = match column.as_str() {
        "u64" | "i64" => column,
        _ => format!("::sabot::__private::{column}"),
    };
    let whole = if optional { format!("::core::option::Option<{private}>") } else { private };
    let Ok(tokens) = whole.parse::<TokenStream>() else { return ty };
    let located = tokens.into_iter().map(|mut t| {
        t.set_span(here);
        t
    });
    syn::parse2(located.collect()).unwrap_or(ty)
}
