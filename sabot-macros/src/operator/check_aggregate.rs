//! What the methods of an aggregate alone can tell.

use syn::spanned::Spanned;
use syn::{FnArg, GenericParam, Signature, Type};

use super::check::borrowed;
use super::model::{Aggregate, params_of, returned};
use super::parse::at;
use crate::common::{Errors, last_segment, text, value_type};

pub(super) fn check(a: &Aggregate, errors: &mut Errors) {
    options(a, errors);
    if let Some(span) = a.of_trait {
        errors.at(span, format!("an aggregate is an `impl` block without a trait: `impl {} {{ .. }}`", text(&a.ty)));
        return;
    }
    if let Some(p) = a.generics.params.first() {
        errors.at(at(p), "operators are registered by type: write one aggregate per type");
    }
    let name = &a.ident;
    let missing = [
        ("update", "fn update(&mut self, ..)", "it takes a row in"),
        ("merge", "fn merge(&mut self, other: Self)", "partial results from different threads are combined with it"),
        ("finish", "fn finish(&self) -> ..", "it gives the result"),
    ];
    for (method, signature, why) in missing {
        if a.method(method).is_none() {
            errors.at(at(&a.ty), format!("aggregate `{name}` needs `{signature}`: {why}"));
        }
    }
    for (i, m) in a.methods.iter().enumerate() {
        let known = ["update", "retract", "merge", "finish"].iter().any(|n| m.ident == n);
        if known && a.methods.iter().take(i).any(|e| e.ident == m.ident) {
            errors.at(m.ident.span(), format!("`{}` is defined twice", m.ident));
        } else if known {
            method(a, m, errors);
        }
    }
}

fn method(a: &Aggregate, m: &Signature, errors: &mut Errors) {
    let name = m.ident.to_string();
    plain(m, if name == "finish" { "&self" } else { "&mut self" }, errors);
    let params = params_of(m);
    match name.as_str() {
        "update" | "retract" => {
            for p in &params {
                let before = errors.len();
                borrowed(&p.ty, errors);
                if errors.len() == before && value_type(&p.ty).is_none() {
                    errors.at(at(&p.ty), format!("`{}` is no column value: `{name}` takes values of a row", text(&p.ty)));
                }
            }
            if name == "retract"
                && let Some(update) = a.method("update")
            {
                let types = |s: &Signature| params_of(s).iter().map(|p| text(&p.ty)).collect::<Vec<_>>();
                if types(update) != types(m) {
                    errors.at(m.ident.span(), "`retract` takes the same parameters as `update`");
                }
            }
        }
        "merge" => {
            let own = |ty: &Type| text(ty) == "Self" || text(ty) == text(&a.ty);
            if params.len() != 1 || !params.first().is_some_and(|p| own(&p.ty)) {
                errors.at(m.ident.span(), "`merge` takes one other partial result: `fn merge(&mut self, other: Self)`");
            }
        }
        _ => {
            if let Some(p) = params.first() {
                errors.at(p.span, "`finish` takes `&self` alone");
            }
        }
    }
    match (name.as_str(), returned(m)) {
        ("finish", None) => errors.at(m.ident.span(), "`finish` returns the result: `fn finish(&self) -> Option<f64>`"),
        ("finish", Some(ty)) if last_segment(ty).is_some_and(|s| s.ident == "Result") => {
            errors.at(at(ty), "`finish` cannot fail: return `Option`, with `None` for no result");
        }
        ("finish", Some(ty)) if value_type(ty).is_none() => {
            errors.at(at(ty), format!("`{}` is no column value: return the result of an aggregate as an owned value", text(ty)))
        }
        ("finish", _) | (_, None) => {}
        (_, Some(ty)) => errors.at(at(ty), format!("`{name}` returns nothing")),
    }
}

/// A method with this receiver, and nothing special about it.
pub(super) fn plain(m: &Signature, wanted: &str, errors: &mut Errors) {
    let name = &m.ident;
    let receiver = match m.inputs.first() {
        Some(FnArg::Receiver(r)) if r.colon_token.is_none() => match (&r.reference, &r.mutability) {
            (Some(_), Some(_)) => "&mut self",
            (Some(_), None) => "&self",
            _ => "self",
        },
        _ => "",
    };
    if receiver != wanted {
        errors.at(m.inputs.first().map_or_else(|| m.ident.span(), at), format!("`{name}` takes `{wanted}`"));
    }
    if let Some(GenericParam::Type(_) | GenericParam::Const(_)) = m.generics.params.first() {
        errors.at(m.ident.span(), format!("operators are registered by type: `{name}` has no type parameters"));
    }
    for (token, what) in
        [(m.asyncness.map(|t| t.span()), "async"), (m.unsafety.map(|t| t.span()), "unsafe"), (m.abi.as_ref().map(|t| t.span()), "extern")]
    {
        if let Some(span) = token {
            errors.at(span, format!("`{name}` is a plain function: remove `{what}`"));
        }
    }
}

fn options(a: &Aggregate, errors: &mut Errors) {
    let o = &a.about.options;
    for (span, name) in [(o.total, "total"), (o.volatile, "volatile"), (o.batch, "batch")] {
        if let Some(span) = span {
            errors.at(span, format!("`{name}` means nothing for an aggregate"));
        }
    }
    for (name, _) in &o.instances {
        errors.at(name.span(), format!("`{name} = [..]` lists the instances of a generic function; write one aggregate per type"));
    }
}
