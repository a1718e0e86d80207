//! `#[record(schema = "schemas/instrument.json")]`: the record is compared with a file at compile time.
//!
//! The file holds an Arrow schema, `{"fields": [{"name": "lot", "type": "Int64", "nullable": false}]}`, with types as Arrow
//! prints them. Its path is relative to the package. Columns that the record does not have are fine: a record reads some of
//! a file's columns. Types that the macro does not know by name are compared when the program opens the file.

use std::path::PathBuf;

use proc_macro2::{Span, TokenStream};
use serde_json::Value as Json;
use syn::Type;

use super::model::Record;
use crate::common::{Errors, bare, generic_args, last_segment, similar, text};

/// The option as written.
#[derive(Debug)]
pub(crate) struct SchemaFile {
    pub(crate) path: String,
    pub(crate) span: Span,
}

/// A column of the file.
#[derive(Debug)]
struct Column {
    name: String,
    data_type: String,
    nullable: bool,
}

/// Reports where record and file differ.
pub(super) fn check(record: &Record, errors: &mut Errors) {
    let Some(file) = &record.schema else { return };
    match std::fs::read_to_string(absolute(&file.path)).map_err(|e| e.to_string()).and_then(|t| read(&t)) {
        Ok(columns) => compare(record, &file.path, &columns, errors),
        Err(e) => errors.at(file.span, format!("the schema `{}` cannot be read: {e}", file.path)),
    }
}

/// What makes the compiler look again when the file changes.
pub(super) fn tracked(record: &Record) -> TokenStream {
    let Some(path) = record.schema.as_ref().map(|f| absolute(&f.path)).filter(|p| p.is_file()) else { return TokenStream::new() };
    let path = path.to_string_lossy();
    ours!(
        const _: &[u8] = ::core::include_bytes!(#path);
    )
}

fn absolute(path: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join(path)
}

fn read(text: &str) -> Result<Vec<Column>, String> {
    let json: Json = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let form = "it is not of the form {\"fields\": [{\"name\": .., \"type\": .., \"nullable\": ..}]}";
    let fields = json.get("fields").and_then(Json::as_array).ok_or(form)?;
    let column = |f: &Json| {
        let text = |key: &str| f.get(key).and_then(Json::as_str).map(str::to_owned);
        let nullable = f.get("nullable").and_then(Json::as_bool).unwrap_or(true);
        Some(Column { name: text("name")?, data_type: text("type")?, nullable })
    };
    fields.iter().map(column).collect::<Option<_>>().ok_or_else(|| form.to_owned())
}

fn compare(record: &Record, path: &str, columns: &[Column], errors: &mut Errors) {
    for field in &record.fields {
        let (name, at) = (&field.name, field.ident.span());
        let Some(column) = columns.iter().find(|c| c.name == *name) else {
            let near = similar(name, columns.iter().map(|c| c.name.as_str()));
            let near = near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            errors.at(at, format!("{path}: there is no column `{name}`{near}"));
            continue;
        };
        let optional = last_segment(&field.ty).filter(|s| s.ident == "Option").and_then(|s| generic_args(s).first().copied());
        let inner = optional.unwrap_or(&field.ty);
        if fits(inner, &column.data_type) == Some(false) {
            errors.at(at, format!("{path}: `{name}` is {}, but the field is `{}`", column.data_type, text(&field.ty)));
        } else if column.nullable && optional.is_none() {
            let ty = text(&field.ty);
            errors.at(at, format!("{path}: `{name}` is nullable, but the field is `{ty}`: write `Option<{ty}>`"));
        }
    }
}

/// Whether a column of this Arrow type can be read as the Rust type; `None` if the macro cannot know.
fn fits(ty: &Type, arrow: &str) -> Option<bool> {
    let segment = last_segment(ty)?;
    let args = generic_args(segment);
    let arg = |i: usize| args.get(i).and_then(|t| last_segment(t)).map(|s| bare(&s.ident));
    let arrow: String = arrow.chars().filter(|c| !c.is_whitespace()).collect();
    let (outer, inner) = arrow.split_once('(').map_or((arrow.as_str(), ""), |(o, i)| (o, i.strip_suffix(')').unwrap_or(i)));
    let unit = || {
        Some(match arg(0)?.as_str() {
            "Seconds" => ["Second", "s"],
            "Millis" => ["Millisecond", "ms"],
            "Micros" => ["Microsecond", "µs"],
            "Nanos" => ["Nanosecond", "ns"],
            _ => return None,
        })
    };
    let of_unit = |kinds: &[&str]| Some(kinds.contains(&outer) && unit()?.iter().any(|u| inner.split(',').next() == Some(*u)));
    let is = |names: &[&str]| Some(names.contains(&arrow.as_str()));
    const TEXT: &[&str] = &["Utf8", "LargeUtf8", "Utf8View"];
    match bare(&segment.ident).as_str() {
        "bool" => is(&["Boolean"]),
        "f16" => is(&["Float16"]),
        "f32" => is(&["Float32"]),
        "f64" => is(&["Float64"]),
        int @ ("i8" | "i16" | "i32" | "i64") => Some(arrow == format!("Int{}", int.trim_start_matches('i'))),
        int @ ("u8" | "u16" | "u32" | "u64") => Some(arrow == format!("UInt{}", int.trim_start_matches('u'))),
        "Str" => Some(TEXT.contains(&arrow.as_str()) || (outer == "Dictionary" && TEXT.iter().any(|t| inner.ends_with(&format!(",{t}"))))),
        "Dict" => Some(outer == "Dictionary" || TEXT.contains(&arrow.as_str())),
        "Bytes" => is(&["Binary", "LargeBinary", "BinaryView"]),
        "Date" => is(&["Date32"]),
        "Timestamp" => of_unit(&["Timestamp"]),
        "Duration" => of_unit(&["Duration"]),
        "Time" => of_unit(&["Time32", "Time64"]),
        "Decimal" => Some(outer.starts_with("Decimal")),
        "List" => Some(["List", "LargeList", "ListView"].contains(&outer)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn messages(record: &str, file: &str) -> Vec<String> {
        let mut errors = Errors::default();
        let model = super::super::parse::parse(record.parse().unwrap(), &mut errors).unwrap();
        compare(&model, "s.json", &read(file).unwrap(), &mut errors);
        errors.messages().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn types_by_name() {
        for (ty, arrow, fit) in [
            ("i64", "Int64", Some(true)),
            ("i64", "Int32", Some(false)),
            ("u8", "UInt8", Some(true)),
            ("Str", "LargeUtf8", Some(true)),
            ("Str", "Dictionary(Int32, Utf8)", Some(true)),
            ("Timestamp<Micros>", "Timestamp(Microsecond, None)", Some(true)),
            ("Timestamp<Micros>", "Timestamp(Nanosecond, None)", Some(false)),
            ("Duration<Seconds>", "Duration(s)", Some(true)),
            ("Decimal<10, 2>", "Decimal128(10, 2)", Some(true)),
            ("Leg", "Struct(..)", None),
        ] {
            assert_eq!(fits(&syn::parse_str(ty).unwrap(), arrow), fit, "{ty} {arrow}");
        }
    }

    #[test]
    fn differences_are_reported_at_fields() {
        let file = r#"{"fields": [{"name": "lot", "type": "Int32", "nullable": false}, {"name": "sector", "type": "Utf8"}]}"#;
        assert_eq!(messages("struct A { lot: i32, sector: Option<Str> }", file), [""; 0]);
        assert_eq!(
            messages("struct A { lot: i64, sector: Str, lots: i32 }", file),
            [
                "s.json: `lot` is Int32, but the field is `i64`",
                "s.json: `sector` is nullable, but the field is `Str`: write `Option<Str>`",
                "s.json: there is no column `lots`; did you mean `lot`?",
            ]
        );
        assert_eq!(messages("#[record(rename_all = \"UPPERCASE\")] struct A { lot: i32 }", file).len(), 1);
    }

    #[test]
    fn malformed_files() {
        assert!(read("{").is_err());
        assert!(read(r#"{"fields": [{"name": "a"}]}"#).is_err());
    }
}
