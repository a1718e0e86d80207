//! A record as a column: an Arrow struct whose children are matched by name.
//!
//! What `#[derive(Record)]` implements `Value` with; only the parts that name fields are generated.

use std::fmt;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StructArray, cast::AsArray};
use arrow_schema::{DataType, Field, Fields};

use super::reader::{describe, first_null};
use super::{Column, Mismatch, Reader, Record};

fn columns<R: Record>() -> Vec<Column> {
    let mut out = Vec::new();
    R::columns(&mut out);
    out
}

/// The Arrow type of a column of `R`s.
pub fn struct_type<R: Record>() -> DataType {
    DataType::Struct(columns::<R>().iter().map(|c| Arc::new(c.field())).collect())
}

/// Whether all of these hold: a record is fixed-width if all of its columns are.
pub const fn all_fixed(fixed: &[bool]) -> bool {
    let mut rest = fixed;
    while let Some((first, more)) = rest.split_first() {
        if !*first {
            return false;
        }
        rest = more;
    }
    true
}

/// Matches the children of a struct column with the columns of `R`, by name. Further children are dropped.
///
/// # Errors
/// If the column is no struct, or a child is missing, has another type, or has a null where `R` allows none.
pub fn accept_struct<R: Record>(array: &ArrayRef) -> Result<ArrayRef, Mismatch> {
    let Some(all) = array.as_struct_opt() else { return Err(Mismatch::of(&struct_type::<R>(), array.as_ref())) };
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    let (mut fields, mut children) = (Vec::new(), Vec::new());
    for want in columns::<R>() {
        let mut refuse = |e: String, f: String| {
            expected.push(format!("`{}`: {e}", want.name));
            found.push(format!("`{}`: {f}", want.name));
        };
        let Some(child) = all.column_by_name(&want.name) else {
            refuse(describe(&want), "(no such field)".to_owned());
            continue;
        };
        match (want.accept)(child) {
            Err(Mismatch { expected, found }) => refuse(expected, found),
            Ok(child) => {
                if !want.nullable && has_null(&child, all) {
                    refuse(describe(&want), first_null(&child));
                }
                fields.push(Field::new(want.name.as_ref(), child.data_type().clone(), true));
                children.push(child);
            }
        }
    }
    if !expected.is_empty() {
        return Err(Mismatch { expected: format!("struct with {}", expected.join(", ")), found: found.join(", ") });
    }
    StructArray::try_new_with_length(fields.into(), children, all.nulls().cloned(), all.len())
        .map(|s| Arc::new(s) as ArrayRef)
        .map_err(|_| Mismatch::of(&struct_type::<R>(), array.as_ref()))
}

/// Whether a child has a null in a row in which its parent has none.
fn has_null(child: &ArrayRef, parent: &StructArray) -> bool {
    match (child.logical_nulls(), parent.nulls()) {
        (None, _) => false,
        (Some(child), None) => child.null_count() > 0,
        (Some(child), Some(parent)) => (0..child.len()).any(|i| child.is_null(i) && parent.is_valid(i)),
    }
}

/// Typed access to an accepted struct column.
pub fn read_struct<'a, R: Record>(array: Option<&'a ArrayRef>) -> R::Read<'a> {
    R::read(&mut Reader::of_struct(array.and_then(|a| a.as_struct_opt()).map_or(&[], |s| s.columns())))
}

/// The struct column of finished children, which are the columns of `R` in order.
pub fn finish_struct<R: Record>(rows: usize, children: Vec<ArrayRef>) -> ArrayRef {
    let fields: Fields = columns::<R>().iter().map(|c| Arc::new(c.field())).collect();
    match StructArray::try_new_with_length(fields, children, None, rows) {
        Ok(s) => Arc::new(s),
        Err(error) => {
            debug_assert!(false, "the columns of {} do not make a struct: {error}", R::NAME);
            arrow_array::new_null_array(&struct_type::<R>(), rows)
        }
    }
}

/// Prints a row as a struct.
///
/// # Errors
/// If the formatter fails.
pub fn debug_row(f: &mut fmt::Formatter<'_>, name: &str, fields: &[(&str, &dyn fmt::Debug)]) -> fmt::Result {
    let mut out = f.debug_struct(name);
    for (name, value) in fields {
        out.field(name, value);
    }
    out.finish()
}
