//! What syntax alone can tell.

use super::model::{Record, Shape};
use crate::common::Errors;

pub(super) fn check(record: &Record, errors: &mut Errors) {
    let at = record.ident.span();
    let name = &record.ident;
    match record.shape {
        Shape::Named => {}
        Shape::Empty => errors.at(at, format!("record `{name}` needs at least one column")),
        Shape::Tuple => errors.at(at, format!("a record needs named columns: write `struct {name} {{ column: Type, .. }}`")),
        Shape::NoStruct => errors.at(at, "a record needs named columns, so it is a struct; an enum may be a column as text or as a number"),
        Shape::Generic(span, true) => {
            errors.at(span, "a record owns its values: write `Str` instead of `&str`; its rows are borrowed anyway")
        }
        Shape::Generic(span, false) => errors.at(span, "a record's columns have fixed types: write one record per type"),
    }
    let mut times = record.fields.iter().filter_map(|f| f.event_time.map(|span| (span, &f.ident)));
    if let Some((_, first)) = times.next() {
        for (span, _) in times {
            errors.at(span, format!("a record has one event time, and `{first}` is it already"));
        }
    }
    for (i, field) in record.fields.iter().enumerate() {
        if field.name.starts_with("sabot.") {
            errors.at(field.ident.span(), "names of columns that begin with `sabot.` are Sabot's own: choose another");
        }
        if let Some(earlier) = record.fields.iter().take(i).find(|f| f.name == field.name) {
            errors.at(field.ident.span(), format!("column `{}` appears twice: `{}` has this name too", field.name, earlier.ident));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use crate::common::Errors;

    fn messages(item: &str) -> Vec<String> {
        let mut errors = Errors::default();
        if let Some(model) = super::super::parse::parse(item.parse().unwrap(), &mut errors) {
            super::check(&model, &mut errors);
            let _ = super::super::expand::expand(&model);
        }
        errors.messages().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn good_records() {
        assert!(messages("struct A { x: f64, #[record(rename = \"y y\")] y: Option<Str>, #[event_time] t: Timestamp<Micros> }").is_empty());
        assert!(messages("#[record(rename_all = \"camelCase\")] pub struct A { dep_delay: f64, r#type: Str }").is_empty());
    }

    #[test]
    fn all_mistakes_at_once() {
        let found = messages(
            "#[record(rename_all = \"Camel\", colour = 1)] struct A { #[record(rename)] a: f64, #[event_time] s: T, #[event_time(x)] t: T, #[record(rename = \"a\", nullable)] b: f64 }",
        );
        assert_eq!(found.len(), 7, "{found:#?}");
        for part in [
            "unknown convention `Camel`",
            "unknown option `colour`",
            "`rename` needs a text",
            "takes no options",
            "one event time",
            "unknown option `nullable`",
            "column `a` appears twice",
        ] {
            assert!(found.iter().any(|m| m.contains(part)), "{part}: {found:#?}");
        }
    }

    #[test]
    fn wrong_items() {
        for (item, part) in [
            ("struct A(f64);", "named columns"),
            ("enum A { X }", "named columns"),
            ("struct A;", "at least one column"),
            ("struct A<T> { x: T }", "fixed types"),
            ("struct A<'a> { x: &'a str }", "owns its values"),
        ] {
            let found = messages(item);
            assert!(found.len() == 1 && found[0].contains(part), "{item}: {found:?}");
        }
    }

    #[test]
    fn columns_are_renamed() {
        let mut errors = Errors::default();
        let item = "#[record(rename_all = \"camelCase\")] struct A { dep_delay: f64, r#type: Str, #[record(rename = \"Ü\")] u: f64 }";
        let model = super::super::parse::parse(item.parse().unwrap(), &mut errors).unwrap();
        let names: Vec<_> = model.fields.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["depDelay", "type", "Ü"]);
        assert!(errors.is_empty());
    }
}
