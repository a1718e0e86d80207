//! What is wrong with an `async fn`, and with its options on another function.

use syn::spanned::Spanned;
use syn::{Type, TypeReference};

use super::model::{Function, Kind, Role};
use super::parse::at;
use crate::common::{Errors, elided, last_segment, value_type};

/// `enabled`: Sabot's feature `async` is on.
pub(super) fn check(f: &Function, enabled: bool, errors: &mut Errors) {
    let waiting = &f.about.options.waiting;
    let Some(token) = &f.sig.asyncness else {
        for (option, span) in &waiting.given {
            errors.at(*span, format!("`{option}` is an option of an `async fn`: make `{}` one, or remove it", f.sig.ident));
        }
        return;
    };
    if !enabled {
        errors.at(
            token.span(),
            "async operators need Sabot's feature `async`: write `sabot = { version = \"..\", features = [\"async\"] }` in Cargo.toml",
        );
    }
    if let Some(span) = f.about.options.batch {
        errors.at(span, "a batch operator is not async: it computes a column from a whole batch at once");
    }
    for param in &f.sig.generics.params {
        if !matches!(param, syn::GenericParam::Lifetime(_)) {
            errors.at(param.span(), "an async operator has no type parameters: write one function per type");
        }
    }
    for p in f.params.iter().filter(|p| p.role == Role::Column && !p.stray_mut()) {
        if let Type::ImplTrait(t) = &p.ty {
            errors.at(t.impl_token.span(), "operators are registered by type: name the type instead of `impl ..`");
        } else if value_type(&p.ty).is_none() {
            errors.at(at(&p.ty), "an async operator takes values of columns, which are copied for the call: numbers, `&str`, `&[u8]`, `ListRef<'_, T>`, and `Option` of these");
        }
    }
    result(f, errors);
    let given = |option: &str| waiting.given.iter().find(|(o, _)| o == option).map(|(_, span)| *span);
    if let (Some(span), None) = (given("retry_wait"), given("retry")) {
        errors.at(span, "`retry_wait` means nothing without `retry`: write `retry = 3` too");
    }
    if let (Some(span), None, false) = (given("retry"), given("timeout"), f.returns_result()) {
        errors.at(span, format!("there is nothing to retry: `{}` returns no `Result`, and has no `timeout`", f.sig.ident));
    }
}

fn result(f: &Function, errors: &mut Errors) {
    let Some(returned) = f.returned() else { return };
    if let Type::ImplTrait(t) = returned {
        errors.at(
            t.impl_token.span(),
            "an async operator returns one value; for any number of rows return a `List`, and spread it in a `flat_map`",
        );
        return;
    }
    let inner = last_segment(returned).filter(|s| s.ident == "Result" || s.ident == "Option");
    let inner = inner.and_then(|s| crate::common::generic_args(s).first().map(|t| (*t).clone())).unwrap_or_else(|| returned.clone());
    if let Type::Reference(TypeReference { elem, .. }) = &inner {
        let owned = match crate::common::text(elem).as_str() {
            "str" => "`Str` or `String`",
            "[u8]" => "`Bytes` or `Vec<u8>`",
            _ => "an owned value",
        };
        errors.at(at(&inner), format!("an async operator returns an owned value, since its row is gone by then: write {owned}"));
    } else if elided(returned) {
        errors.at(at(returned), "an async operator returns an owned value, since its row is gone by then");
    }
}

impl Function {
    /// Whether it is an `async fn`.
    pub(super) fn waits(&self) -> bool {
        self.kind == Kind::Async
    }
    fn returns_result(&self) -> bool {
        self.returned().and_then(last_segment).is_some_and(|s| s.ident == "Result")
    }
    /// Whether its calls fail, but only by taking too long.
    pub(super) fn only_times_out(&self) -> bool {
        self.waits() && self.about.options.waiting.timeout.is_some() && !self.returns_result()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::model::Item;
    use super::super::parse;
    use crate::common::Errors;

    fn messages(enabled: bool, options: &str, item: &str) -> Vec<String> {
        let mut errors = Errors::default();
        if let Some(Item::Function(f)) = parse::parse(options.parse().unwrap(), item.parse().unwrap(), &mut errors) {
            super::check(&f, enabled, &mut errors);
        }
        errors.messages().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn good() {
        for (options, item) in [
            ("max_in_flight = 64, timeout = \"2s\", unordered", "async fn geo(ip: &str, port: Option<i64>) -> Result<Str, E> { todo!() }"),
            ("retry = 3, retry_wait = \"100ms\"", "pub async fn f(a: f64) -> Result<Option<String>, E> { Ok(None) }"),
            ("timeout = \"1min\", retry = 2", "async fn f<'a>(a: &'a [u8]) -> Timestamp<Micros> { g(a).await }"),
        ] {
            assert_eq!(messages(true, options, item), [""; 0], "{item}");
        }
    }

    #[test]
    fn wrong() {
        for (options, item, parts) in [
            (
                "timeout = \"soon\", max_in_flight = 0, retry = \"x\"",
                "async fn f(a: f64) -> Result<f64, E> { a }",
                vec!["`timeout` is a number and a unit", "`max_in_flight = 0`: at least one call", "`retry` needs a whole number"],
            ),
            ("unordered", "fn f(a: f64) -> f64 { a }", vec!["`unordered` is an option of an `async fn`"]),
            ("retry_wait = \"1s\"", "async fn f(a: f64) -> Result<f64, E> { a }", vec!["means nothing without `retry`"]),
            ("retry = 2", "async fn f(a: f64) -> f64 { a }", vec!["nothing to retry"]),
            ("", "async fn f<T>(a: T) -> f64 { 0. }", vec!["no type parameters"]),
            ("", "async fn f(a: &str) -> &str { a }", vec!["owned value, since its row is gone by then: write `Str` or `String`"]),
            ("", "async fn f(a: &str) -> Result<Option<&str>, E> { a }", vec!["owned value"]),
            ("", "async fn f(a: TradeRow<'_>) -> f64 { 0. }", vec!["values of columns"]),
            ("", "async fn f(a: f64) -> impl Iterator<Item = f64> { [a].into_iter() }", vec!["returns one value"]),
            ("batch", "async fn f(b: &Batch<R>) -> Float64Array { x }", vec!["a batch operator is not async", "values of columns"]),
        ] {
            let found = messages(true, options, item);
            assert_eq!(found.len(), parts.len(), "{item}: {found:#?}");
            for part in parts {
                assert!(found.iter().any(|m| m.contains(part)), "{item}: {part}: {found:#?}");
            }
        }
        let found = messages(false, "", "async fn f(a: f64) -> f64 { a }");
        assert!(found.len() == 1 && found[0].contains("need Sabot's feature `async`"), "{found:#?}");
    }
}
