//! What the methods of a keyed operator with rows of its own alone can tell.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::Signature;

use super::check::borrowed;
use super::check_aggregate::plain;
use super::model::{Aggregate, Function, Kind, params_of, returned};
use super::parse::at;
use crate::common::{Errors, generic_args, last_segment, text, value_type};

/// The methods that the step calls.
pub(super) const CALLED: &[&str] = &["row", "timer", "clock_timer"];
/// What sets and deletes timers, and the method that takes them.
const TIMERS: &[(&str, &str)] =
    &[("set_timer", "timer"), ("delete_timer", "timer"), ("set_clock_timer", "clock_timer"), ("delete_clock_timer", "clock_timer")];

/// How many values a method returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Many {
    None,
    Optional,
    Any,
    One,
}

/// What a method returns: `T` of `Option<T>`, `Vec<T>` or `T`.
pub(super) fn result(m: &Signature) -> (Many, Option<&syn::Type>) {
    let Some(ty) = returned(m) else { return (Many::None, None) };
    let of = |name: &str| last_segment(ty).filter(|s| s.ident == name).and_then(|s| generic_args(s).first().copied());
    match (of("Option"), of("Vec")) {
        (Some(inner), _) => (Many::Optional, Some(inner)),
        (_, Some(inner)) => (Many::Any, Some(inner)),
        _ => (Many::One, Some(ty)),
    }
}

/// Reports what is wrong; whether the operator can be called.
pub(super) fn check(a: &Aggregate, errors: &mut Errors) -> bool {
    let before = errors.len();
    let name = &a.ident;
    if let Some(span) = a.of_trait {
        errors.at(span, format!("a keyed operator is an `impl` block without a trait: `impl {} {{ .. }}`", text(&a.ty)));
        return false;
    }
    if let Some(p) = a.generics.params.first() {
        errors.at(at(p), "operators are registered by type: write one operator per type");
    }
    if a.method("row").is_none() {
        errors
            .at(at(&a.ty), format!("keyed operator `{name}` needs `fn row(&mut self, ctx: &mut KeyCtx, ..)`: it takes the rows of a key"));
    }
    for method in ["update", "merge", "finish"].iter().filter_map(|m| a.method(m)) {
        let message =
            format!("`{name}` has `row`, so it is a keyed operator; an aggregate has `update`, `merge` and `finish`, and no `row`");
        errors.at(method.ident.span(), message);
    }
    for (i, m) in a.methods.iter().enumerate().filter(|(_, m)| CALLED.iter().any(|n| m.ident == n)) {
        if a.methods.iter().take(i).any(|e| e.ident == m.ident) {
            errors.at(m.ident.span(), format!("`{}` is defined twice", m.ident));
        } else {
            plain(m, "&mut self", errors);
            params(m, errors);
        }
    }
    results(a, errors);
    let callable = errors.len() == before;
    for (call, method) in TIMERS {
        if a.method(method).is_none() {
            calls(&a.body, call, &mut |span| {
                errors.at(
                    span,
                    format!(
                        "nothing takes this timer: add `fn {method}(&mut self, ctx: &mut KeyCtx, at: Timestamp<Micros>)` to the operator"
                    ),
                );
            });
        }
    }
    options(a, errors);
    callable
}

/// A function has no timers.
pub(super) fn function(f: &Function, errors: &mut Errors) {
    for (call, _) in TIMERS.iter().filter(|_| f.kind == Kind::Keyed) {
        calls(&f.body, call, &mut |span| {
            errors.at(
                span,
                "nothing takes this timer: an operator with timers is an `#[operator] impl` with `fn row(..)` and `fn timer(..)`",
            );
        });
    }
}

/// Calls `f` with the place of each call of a method.
fn calls(tokens: &TokenStream, name: &str, f: &mut impl FnMut(Span)) {
    let mut dot = false;
    for token in tokens.clone() {
        match &token {
            TokenTree::Ident(i) if dot && i == name => f(i.span()),
            TokenTree::Group(g) => calls(&g.stream(), name, f),
            _ => {}
        }
        dot = matches!(&token, TokenTree::Punct(p) if p.as_char() == '.');
    }
}

fn params(m: &Signature, errors: &mut Errors) {
    let name = &m.ident;
    let all = params_of(m);
    for p in all.iter().filter(|p| p.is_ctx()).skip(1) {
        errors.at(p.span, format!("`{name}` has its context already"));
    }
    let columns: Vec<_> = all.iter().filter(|p| !p.is_ctx()).collect();
    if name != "row" {
        for p in columns.iter().skip(1) {
            errors.at(p.span, format!("`{name}` has no row: it takes `&mut self`, `ctx: &mut KeyCtx` and `at: Timestamp<Micros>`"));
        }
        return;
    }
    for p in columns {
        if p.ident.is_none() {
            errors.at(p.span, "a parameter is named like the column it reads: write `name: Type`");
        }
        if matches!(&p.ty, syn::Type::Reference(r) if r.mutability.is_some()) {
            errors.at(at(&p.ty), "an operator may change its state only, which is `self`");
        } else {
            borrowed(&p.ty, errors);
        }
    }
}

/// All methods return values of one type.
fn results(a: &Aggregate, errors: &mut Errors) {
    let before = errors.len();
    let mut first: Option<(&Signature, String)> = None;
    for m in CALLED.iter().filter_map(|n| a.method(n)) {
        let (_, Some(ty)) = result(m) else { continue };
        if last_segment(ty).is_some_and(|s| s.ident == "Result") {
            errors.at(at(ty), format!("`{}` cannot fail: send what is wrong to the second output, `ctx.side(..)`", m.ident));
            continue;
        }
        if value_type(ty).is_none() {
            errors.at(at(ty), format!("`{}` is no column value: return an owned value", text(ty)));
            continue;
        }
        let shown = text(ty);
        match &first {
            None => first = Some((m, shown)),
            Some((other, before)) if *before != shown => errors.at(
                at(ty),
                format!("an operator has one type of results: `{}` returns `{before}`, so `{}` does too", other.ident, m.ident),
            ),
            Some(_) => {}
        }
    }
    if first.is_none() && a.method("row").is_some() && errors.len() == before {
        errors.at(
            a.ident.span(),
            format!("operator `{}` returns nothing: let `row` or `timer` return `Option<T>`, `Vec<T>` or `T`", a.ident),
        );
    }
}

fn options(a: &Aggregate, errors: &mut Errors) {
    let o = &a.about.options;
    for (span, name) in [(o.total, "total"), (o.volatile, "volatile"), (o.batch, "batch")] {
        if let Some(span) = span {
            errors.at(span, format!("`{name}` means nothing for a keyed operator"));
        }
    }
    for (name, _) in &o.instances {
        errors.at(name.span(), format!("`{name} = [..]` lists the instances of a generic function; write one operator per type"));
    }
}
