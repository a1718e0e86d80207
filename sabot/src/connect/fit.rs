//! Matching the columns of a source to the record that reads them: by name, with a readable table of what does not fit.

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef};

use super::types::{compatible, convert, plain_field};
use crate::{Error, Result};

/// How many column names of a source a message lists.
const LISTED_COLUMNS: usize = 30;

/// For each expected column the index of the source's column of that name. Other columns of the source are ignored.
///
/// # Errors
/// [`Error::Schema`] if a column is missing, occurs twice, or has an incompatible type.
pub(crate) fn fit(place: &str, record: &str, expected: &Schema, found: &Schema) -> Result<Vec<usize>> {
    let mut indices = Vec::with_capacity(expected.fields().len());
    let mut offending = Vec::new();
    let mut missing = false;
    for field in expected.fields() {
        let mut same = found.fields().iter().enumerate().filter(|(_, f)| f.name() == field.name());
        let row = |found: String| [field.name().clone(), plain_field(field), found];
        match (same.next(), same.next()) {
            (Some((i, f)), None) if compatible(field.data_type(), f.data_type()) => indices.push(i),
            (Some((_, f)), None) => offending.push(row(plain_field(f))),
            (Some(_), Some(_)) => offending.push(row("occurs more than once".into())),
            (None, _) => {
                missing = true;
                let hint = crate::words::nearest(field.name(), found.fields().iter().map(|f| f.name().as_str()))
                    .map_or_else(String::new, |name| format!("; is it `{name}`?"));
                offending.push(row(format!("missing{hint}")));
            }
        }
    }
    if offending.is_empty() {
        return Ok(indices);
    }
    let mut diff = table(&offending);
    match indices.len() {
        0 => {}
        1 => diff.push_str("\n(1 other column fits)"),
        n => diff.push_str(&format!("\n({n} other columns fit)")),
    }
    if missing {
        let mut names: Vec<&str> = found.fields().iter().take(LISTED_COLUMNS).map(|f| f.name().as_str()).collect();
        if found.fields().len() > LISTED_COLUMNS {
            names.push("...");
        }
        diff.push_str(&format!("\nit has: {}", if names.is_empty() { "no columns".into() } else { names.join(", ") }));
    }
    Err(Error::Schema { place: place.into(), record: record.into(), diff })
}

/// An aligned table under the heading `column | expected | found`.
pub(crate) fn table(rows: &[[String; 3]]) -> String {
    let head = ["column".to_string(), "expected".to_string(), "found".to_string()];
    let width = |cell: fn(&[String; 3]) -> &String| std::iter::once(&head).chain(rows).map(|r| cell(r).chars().count()).max().unwrap_or(0);
    let (a, b) = (width(|[n, _, _]| n), width(|[_, e, _]| e));
    let lines: Vec<String> = std::iter::once(&head).chain(rows).map(|[n, e, f]| format!("  {n:a$} | {e:b$} | {f}")).collect();
    lines.join("\n")
}

/// Puts columns under the expected schema: converts encodings, and refuses nulls where the record has none.
///
/// # Errors
/// [`Error::Data`] naming `place(row)`, with `row` counted from zero within these columns, and the column.
pub(crate) fn conform(schema: &SchemaRef, columns: &[ArrayRef], rows: usize, place: impl Fn(usize) -> String) -> Result<RecordBatch> {
    let mut out = Vec::with_capacity(columns.len());
    for (field, column) in schema.fields().iter().zip(columns) {
        if !field.is_nullable() {
            refuse_nulls(field, column, &place)?;
        }
        out.push(convert(column, field.data_type())?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(SchemaRef::clone(schema), out, &options)?)
}

fn refuse_nulls(field: &Field, column: &ArrayRef, place: impl Fn(usize) -> String) -> Result<()> {
    let Some(nulls) = column.logical_nulls().filter(|n| n.null_count() > 0) else { return Ok(()) };
    let row = nulls.iter().position(|valid| !valid).unwrap_or(0);
    Err(Error::Data {
        place: place(row),
        what: format!("column `{}` is null, but the record expects a value; declare it as `Option<..>`", field.name()),
    })
}

/// The schema of these columns, in this order, and where they are.
///
/// # Errors
/// [`Error::Usage`] if a column does not exist.
pub(crate) fn project(schema: &Schema, columns: &[String], source: &str) -> Result<(SchemaRef, Vec<usize>)> {
    let indices = columns
        .iter()
        .map(|name| {
            schema.index_of(name).map_err(|_| {
                let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                Error::usage(format!("{source} has no column `{name}`; it has {}", names.join(", ")))
            })
        })
        .collect::<Result<Vec<usize>>>()?;
    Ok((SchemaRef::new(schema.project(&indices)?), indices))
}

/// A position that is a number of rows (or bytes).
///
/// # Errors
/// [`Error::Checkpoint`] if it was written by another kind of source.
pub(crate) fn number(position: Option<&serde_json::Value>, source: &str) -> Result<Option<u64>> {
    match position {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| Error::Checkpoint(format!("`{value}` is not a position in {source}: it was written by another source"))),
    }
}

/// The description of a split as this source wrote it.
///
/// # Errors
/// [`Error::Checkpoint`] if another kind of source wrote it.
pub(crate) fn split_spec<T: serde::de::DeserializeOwned>(split: &crate::operator::Split, source: &str) -> Result<T> {
    T::deserialize(&split.spec).map_err(|e| Error::Checkpoint(format!("split {} was not cut by {source}: {e}", split.sequence)))
}
