//! What the signature of a function alone can tell.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{FnArg, GenericParam, Type};

use super::model::{Function, Kind, Role};
use super::parse::at;
use crate::common::{Errors, generic_args, last_segment, text};

/// Reports what is wrong; whether the function can be called as an operator.
pub(super) fn check(f: &Function, errors: &mut Errors) -> bool {
    let before = errors.len();
    modifiers(f, errors);
    super::check_async::check(f, cfg!(feature = "async"), errors);
    generics(f, errors);
    for p in &f.params {
        if p.ident.is_none() && f.kind != Kind::Batch {
            errors.at(p.span, "a parameter is named like the column it reads: write `name: Type`");
        }
        if p.stray_mut() && f.kind == Kind::Async {
            errors.at(
                at(&p.ty),
                "an async operator keeps no state: its calls run side by side; count or compare in a `keyed` operator behind it",
            );
        } else if p.stray_mut() {
            errors.at(at(&p.ty), "an operator may change its state only, which is the first parameter");
        } else if p.role == Role::Column {
            borrowed(&p.ty, errors);
        }
    }
    super::check_rows::function(f, errors);
    result(f, errors);
    let callable = errors.len() == before;
    options(f, errors);
    callable
}

fn modifiers(f: &Function, errors: &mut Errors) {
    if let Some(FnArg::Receiver(r)) = f.sig.inputs.first() {
        errors.at(r.self_token.span(), "an operator is a free function; for an aggregate put `#[operator]` on the `impl` block");
    }
    if let Some(token) = &f.sig.unsafety {
        errors.at(token.span(), "an operator is a safe function: put the unsafe part into a block, with its reason");
    }
    if let Some(abi) = &f.sig.abi {
        errors.at(abi.extern_token.span(), "an operator is a Rust function: remove `extern`, and call the foreign function in its body");
    }
}

fn generics(f: &Function, errors: &mut Errors) {
    if f.kind == Kind::Async {
        return;
    }
    let lists = &f.about.options.instances;
    for param in &f.sig.generics.params {
        let ident = match param {
            GenericParam::Type(t) => &t.ident,
            GenericParam::Const(c) => &c.ident,
            GenericParam::Lifetime(_) => continue,
        };
        if !lists.iter().any(|(name, _)| name == ident) {
            let example = if matches!(param, GenericParam::Const(_)) { "1, 8" } else { "i32, f64" };
            errors.at(ident.span(), format!("operators are registered by type: list the instances, `#[operator({ident} = [{example}])]`"));
        }
    }
    for (name, _) in lists {
        let known = f.sig.generics.params.iter().any(|p| match p {
            GenericParam::Type(t) => t.ident == *name,
            GenericParam::Const(c) => c.ident == *name,
            GenericParam::Lifetime(_) => false,
        });
        if !known {
            errors.at(name.span(), format!("`{}` has no type parameter `{name}`", f.sig.ident));
        }
    }
    for p in &f.params {
        if let Type::ImplTrait(t) = &p.ty {
            errors.at(t.impl_token.span(), "operators are registered by type: name the type instead of `impl ..`");
        }
    }
}

/// Owned text and lists: rows are borrowed.
pub(super) fn borrowed(ty: &Type, errors: &mut Errors) {
    let inner = match ty {
        Type::Reference(r) => &*r.elem,
        other => other,
    };
    let reference = matches!(ty, Type::Reference(_));
    let Some(segment) = last_segment(inner) else { return };
    let args = generic_args(segment);
    let name = segment.ident.to_string();
    let span = at(ty);
    match (name.as_str(), args.as_slice()) {
        ("String" | "Str", []) => errors.at(span, format!("operators borrow text: write `&str` instead of `{}`", text(ty))),
        ("Dict", [_]) => errors.at(span, format!("operators borrow text, in whatever encoding: write `&str` instead of `{}`", text(ty))),
        ("Bytes", []) => errors.at(span, format!("operators borrow bytes: write `&[u8]` instead of `{}`", text(ty))),
        ("Vec", [item]) if text(*item) == "u8" => {
            errors.at(span, format!("operators borrow bytes: write `&[u8]` instead of `{}`", text(ty)))
        }
        ("Vec" | "List", [item]) => {
            errors.at(span, format!("operators borrow lists: write `ListRef<'_, {}>` instead of `{}`", text(*item), text(ty)))
        }
        ("Option", [inner]) if !reference => borrowed(inner, errors),
        _ => {}
    }
}

fn result(f: &Function, errors: &mut Errors) {
    let name = &f.sig.ident;
    match (f.returned(), f.kind) {
        (None, _) => errors.at(name.span(), format!("operator `{name}` returns nothing; use `inspect` for side effects")),
        (Some(Type::ImplTrait(t)), Kind::Scalar | Kind::Predicate | Kind::FlatMap) => {
            let iterates = t.bounds.iter().any(|b| matches!(b, syn::TypeParamBound::Trait(b) if b.path.segments.last().is_some_and(|s| s.ident.to_string().ends_with("Iterator"))));
            if !iterates {
                errors.at(t.impl_token.span(), "an operator returns a value, or `impl Iterator<Item = ..>` for any number of rows");
            }
        }
        _ => {}
    }
    if f.kind == Kind::Batch {
        let single = f.params.len() == 1 && f.params.first().is_some_and(|p| p.batch_record().is_some());
        if !single {
            errors.at(name.span(), "a batch operator has one parameter, `&Batch<R>` with a `#[derive(Record)]` struct `R`");
        }
    }
}

fn options(f: &Function, errors: &mut Errors) {
    let (what, row_wise) = match f.kind {
        Kind::Scalar => ("a scalar operator", true),
        Kind::Predicate => ("a predicate", true),
        Kind::FlatMap => ("a flat_map", false),
        Kind::Keyed => ("a keyed operator", false),
        Kind::Batch => ("a batch operator", false),
        Kind::Async => ("an async operator", false),
    };
    let mut useless = |span: Option<Span>, name: &str, why: &str| {
        if let Some(span) = span {
            errors.at(span, format!("`{name}` means nothing for {what}: {why}"));
        }
    };
    if !row_wise {
        useless(f.about.options.total, "total", "it is never called for a row that was dropped");
    }
    if matches!(f.kind, Kind::Keyed | Kind::Batch | Kind::Async) {
        useless(f.about.options.volatile, "volatile", "it is called once per row anyway");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::model::Item;
    use super::super::{check_aggregate, check_rows, parse};
    use crate::common::Errors;

    pub(crate) fn messages(options: &str, item: &str) -> Vec<String> {
        let mut errors = Errors::default();
        match parse::parse(options.parse().unwrap(), item.parse().unwrap(), &mut errors) {
            Some(Item::Function(f)) => {
                super::check(&f, &mut errors);
            }
            Some(Item::Aggregate(a)) if a.keyed() => {
                check_rows::check(&a, &mut errors);
            }
            Some(Item::Aggregate(a)) => check_aggregate::check(&a, &mut errors),
            None => {}
        }
        let _ = super::super::attribute(options.parse().unwrap(), item.parse().unwrap());
        errors.messages().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn good_functions() {
        for (options, item) in [
            ("total", "pub fn notional(price: f64, qty: i64) -> f64 { price * qty as f64 }"),
            ("", "fn first_word(note: Option<&str>) -> Option<&str> { note?.split(' ').next() }"),
            ("volatile", "fn legs(t: TradeRow<'_>) -> impl Iterator<Item = Leg> { [].into_iter() }"),
            ("", "fn bursts(run: &mut Run, ts: Timestamp<Micros>, ctx: &mut KeyCtx) -> Option<u32> { None }"),
            ("batch", "fn z(b: &Batch<Trade>) -> Result<Float64Array> { b.x. }"),
            ("T = [i32, f64], name = \"d\"", "fn double<T: Add>(x: T) -> T { x + x }"),
            ("", "fn half_typed(x: f64) -> f64 { x. }"),
            ("", "const fn one() -> i64 { 1 }"),
        ] {
            assert_eq!(messages(options, item), [""; 0], "{item}");
        }
    }

    #[test]
    fn wrong_functions() {
        for (options, item, parts) in [
            (
                "",
                "fn f(a: String, b: Option<String>, c: &String) -> f64 { 0. }",
                vec!["write `&str` instead of `String`", "write `&str` instead of `String`", "instead of `&String`"],
            ),
            ("", "fn f(a: Vec<u8>, b: List<i64>) -> f64 { 0. }", vec!["`&[u8]`", "`ListRef<'_, i64>`"]),
            ("", "fn f(a: f64) { }", vec!["operator `f` returns nothing; use `inspect` for side effects"]),
            ("", "fn f<T>(a: T) -> T { a }", vec!["operators are registered by type: list the instances, `#[operator(T = [i32, f64])]`"]),
            ("U = [i32]", "fn f<T>(a: T) -> T { a }", vec!["list the instances", "no type parameter `U`"]),
            ("", "fn f(&self, a: f64) -> f64 { a }", vec!["free function"]),
            ("", "unsafe extern \"C\" fn f(a: f64) -> f64 { a }", vec!["safe function", "Rust function"]),
            ("", "fn f(a: impl Into<f64>) -> f64 { 0. }", vec!["name the type"]),
            ("", "fn f((a, b): (f64, f64)) -> f64 { a }", vec!["named like the column"]),
            ("", "fn f(a: f64, s: &mut S) -> f64 { a }", vec!["first parameter"]),
            (
                "total, fast, name = 3, T",
                "fn f(a: f64) -> f64 { a }",
                vec!["unknown option `fast`", "`name` needs a text", "list the types"],
            ),
            ("total", "fn f(s: &mut S) -> Option<f64> { None }", vec!["`total` means nothing for a keyed operator"]),
            ("batch", "fn f(a: f64) -> f64 { a }", vec!["one parameter, `&Batch<R>`"]),
            ("", "fn f(a: f64) -> impl Fn() { || () }", vec!["impl Iterator"]),
            ("", "struct S { a: f64 }", vec!["goes on a function"]),
        ] {
            let found = messages(options, item);
            assert_eq!(found.len(), parts.len(), "{item}: {found:#?}");
            for part in parts {
                assert!(found.iter().any(|m| m.contains(part)), "{item}: {part}: {found:#?}");
            }
        }
    }

    #[test]
    fn keyed_operators() {
        let good = "impl Visit { fn row(&mut self, ctx: &mut KeyCtx<Str>, page: &str) -> Option<u64> { ctx.set_timer(x); ctx.delete_timer(x); None } fn timer(&mut self, ctx: &mut KeyCtx<Str>, at: Timestamp<Micros>) -> Option<u64> { None } fn helper(&self) -> f64 { 0. } }";
        assert_eq!(messages("", good), [""; 0]);
        let rows = "fn row(&mut self, page: &str) -> u64 { 0 }";
        for (options, item, parts) in [
            ("", "impl V { fn timer(&mut self, ctx: &mut KeyCtx, at: Timestamp<Micros>) -> u64 { 0 } }".to_owned(), vec!["needs `fn row("]),
            ("", format!("impl V {{ {rows} fn merge(&mut self, other: Self) {{}} }}"), vec!["has `row`, so it is a keyed operator"]),
            (
                "",
                "impl V { fn row(&self, a: String, s: &mut i64) -> u64 { 0 } }".into(),
                vec!["takes `&mut self`", "`&str` instead", "which is `self`"],
            ),
            ("", "impl V { fn row(&mut self, a: i64) { } }".into(), vec!["returns nothing: let `row` or `timer` return"]),
            (
                "",
                format!("impl V {{ {rows} fn timer(&mut self, a: i64, b: i64) -> Option<f64> {{ None }} }}"),
                vec!["`timer` has no row", "one type of results"],
            ),
            ("", "impl V { fn row(&mut self, a: i64) -> Result<i64, E> { 0 } }".into(), vec!["`row` cannot fail"]),
            (
                "",
                "impl V { fn row(&mut self, ctx: &mut KeyCtx, a: i64) -> u64 { if a { ctx.set_clock_timer(b) } 0 } }".into(),
                vec!["add `fn clock_timer("],
            ),
            ("total, batch", format!("impl V {{ {rows} {rows} }}"), vec!["`total` means", "`batch` means", "defined twice"]),
            (
                "",
                "fn f(s: &mut S, ctx: &mut KeyCtx) -> u64 { ctx.set_timer(x); 0 }".into(),
                vec!["an operator with timers is an `#[operator] impl`"],
            ),
        ] {
            let found = messages(options, &item);
            assert_eq!(found.len(), parts.len(), "{item}: {found:#?}");
            for part in parts {
                assert!(found.iter().any(|m| m.contains(part)), "{item}: {part}: {found:#?}");
            }
        }
    }

    #[test]
    fn aggregates() {
        let good = "impl Vwap { fn update(&mut self, price: f64, name: &str) {} fn merge(&mut self, other: Self) {} pub fn finish(&self) -> Option<f64> { None } const X: i64 = { 1 }; fn helper(self) {} }";
        assert_eq!(messages("", good), [""; 0]);
        for (options, item, parts) in [
            (
                "",
                "impl Vwap { fn update(&mut self, price: f64) {} fn finish(&self) -> f64 { 0. } }",
                vec![
                    "aggregate `Vwap` needs `fn merge(&mut self, other: Self)`: partial results from different threads are combined with it",
                ],
            ),
            ("", "impl Vwap {}", vec!["`fn update(", "`fn merge(", "`fn finish("]),
            (
                "",
                "impl Vwap { fn update(&self, s: String) -> f64 {} fn merge(&mut self) {} fn finish(self) {} }",
                vec!["`&mut self`", "`&str` instead", "`update` returns nothing", "other: Self", "`&self`", "`finish` returns"],
            ),
            (
                "",
                "impl<T> Vwap<T> { fn update(&mut self, price: f64) {} fn merge(&mut self, other: Self) {} fn finish(&self) -> f64 { 0. } }",
                vec!["one aggregate per type"],
            ),
            ("", "impl Aggregate for Vwap { }", vec!["without a trait"]),
            (
                "total, batch",
                "impl A { fn update(&mut self, price: f64) {} fn update(&mut self) {} fn retract(&mut self, price: i64) {} fn merge(&mut self, other: A) {} fn finish(&self) -> f64 { 0. } }",
                vec!["`total` means", "`batch` means", "twice", "same parameters"],
            ),
        ] {
            let found = messages(options, item);
            assert_eq!(found.len(), parts.len(), "{item}: {found:#?}");
            for part in parts {
                assert!(found.iter().any(|m| m.contains(part)), "{item}: {part}: {found:#?}");
            }
        }
    }
}
