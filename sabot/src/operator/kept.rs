//! The rows that an operator looks at: all of a batch, or a list.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};

use crate::kernel::{Morsel, Origin};
use crate::{Error, Result};

/// The kept rows of a batch, ascending.
#[derive(Clone, Copy, Debug)]
pub enum Kept<'a> {
    /// The rows from the first number up to, not including, the second.
    Range(usize, usize),
    /// These rows.
    Some(&'a [u32]),
}

impl<'a> Kept<'a> {
    /// Number of rows.
    pub fn len(self) -> usize {
        match self {
            Kept::Range(from, to) => to - from,
            Kept::Some(rows) => rows.len(),
        }
    }
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
    /// Calls `f(i, row)` for the i-th kept row.
    #[inline(always)]
    pub fn each(self, mut f: impl FnMut(usize, usize)) {
        match self {
            Kept::Range(from, to) => (from..to).enumerate().for_each(|(i, row)| f(i, row)),
            Kept::Some(rows) => rows.iter().enumerate().for_each(|(i, row)| f(i, *row as usize)),
        }
    }
    /// The part of the kept rows from the `from`-th on, at most `len` of them.
    pub fn part(self, from: usize, len: usize) -> Kept<'a> {
        match self {
            Kept::Range(a, b) => {
                let start = (a + from).min(b);
                Kept::Range(start, (start + len).min(b))
            }
            Kept::Some(rows) => {
                let rest = rows.get(from..).unwrap_or(&[]);
                Kept::Some(rest.get(..len).unwrap_or(rest))
            }
        }
    }
    /// The first row, and the one behind the last.
    pub fn span(self) -> (usize, usize) {
        match self {
            Kept::Range(from, to) => (from, to),
            Kept::Some(rows) => (rows.first().copied().unwrap_or_default() as usize, rows.last().map_or(0, |last| *last as usize + 1)),
        }
    }
    /// The same rows, counted from row `from`.
    pub(crate) fn counted_from(self, from: usize, room: &'a mut Vec<u32>) -> Kept<'a> {
        match self {
            Kept::Range(a, b) => Kept::Range(a - from.min(a), b - from.min(b)),
            Kept::Some(rows) => {
                room.clear();
                room.extend(rows.iter().map(|row| row - (from as u32).min(*row)));
                Kept::Some(room)
            }
        }
    }
    /// The row numbers as a list.
    pub fn to_vec(self) -> Vec<u32> {
        match self {
            Kept::Range(from, to) => (from as u32..to as u32).collect(),
            Kept::Some(rows) => rows.to_vec(),
        }
    }
}

/// Room for the row list of a morsel with a selection.
#[derive(Debug, Default)]
pub(crate) struct RowList(Vec<u32>);

impl RowList {
    /// The kept rows of `morsel`.
    pub(crate) fn of(&mut self, morsel: &Morsel) -> Kept<'_> {
        match &morsel.selection {
            Some(s) if s.count() < morsel.batch.num_rows() => {
                self.0.clear();
                self.0.extend(s.rows().map(|row| row as u32));
                Kept::Some(&self.0)
            }
            _ => Kept::Range(0, morsel.batch.num_rows()),
        }
    }
}

/// Calls `f(group, row)` for every kept row that is valid; stops at the first error.
#[inline(always)]
pub(crate) fn for_rows<E>(
    groups: &[u32],
    kept: Kept<'_>,
    nulls: Option<&NullBuffer>,
    mut f: impl FnMut(usize, usize) -> Result<(), E>,
) -> Result<(), E> {
    let nulls = nulls.filter(|n| n.null_count() > 0);
    match (kept, nulls) {
        (Kept::Range(from, to), None) => groups.iter().zip(from..to).try_for_each(|(g, row)| f(*g as usize, row)),
        (Kept::Range(from, to), Some(n)) => {
            groups.iter().zip(from..to).filter(|(_, row)| n.is_valid(*row)).try_for_each(|(g, row)| f(*g as usize, row))
        }
        (Kept::Some(rows), None) => groups.iter().zip(rows).try_for_each(|(g, row)| f(*g as usize, *row as usize)),
        (Kept::Some(rows), Some(n)) => {
            groups.iter().zip(rows).filter(|(_, row)| n.is_valid(**row as usize)).try_for_each(|(g, row)| f(*g as usize, *row as usize))
        }
    }
}

/// The same split of a source: origins without their row.
pub(crate) fn split_of(o: Origin) -> Origin {
    Origin { row: 0, ..o }
}

/// The positions of named columns in a schema.
pub(crate) fn positions(schema: &Schema, names: &[String], step: &str) -> Result<Vec<usize>> {
    names.iter().map(|n| schema.index_of(n).map_err(|_| no_column(n, step))).collect()
}

/// The columns at these positions.
pub(crate) fn pick(batch: &RecordBatch, at: &[usize]) -> Result<Vec<ArrayRef>> {
    at.iter().map(|i| batch.columns().get(*i).cloned().ok_or_else(|| Error::internal("a batch lacks a column of its schema"))).collect()
}

/// The columns of a batch by name.
pub(crate) fn named(batch: &RecordBatch, names: &[String], step: &str) -> Result<Vec<ArrayRef>> {
    names.iter().map(|n| batch.column_by_name(n).cloned().ok_or_else(|| no_column(n, step))).collect()
}

pub(crate) fn no_column(name: &str, step: &str) -> Error {
    Error::Plan(format!("`{step}` needs column `{name}`, which its input does not have"))
}

/// The schema with `field` in place of the column of that name, or behind the last.
pub(crate) fn schema_with(schema: &Schema, field: Field) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    match fields.iter_mut().find(|f| f.name() == field.name()) {
        Some(old) => *old = Arc::new(field),
        None => fields.push(Arc::new(field)),
    }
    Arc::new(Schema::new_with_metadata(Fields::from(fields), HashMap::new()))
}

/// The batch with `column` in place of the column of that name, or behind the last.
pub(crate) fn batch_with(batch: &RecordBatch, field: Field, column: ArrayRef) -> Result<RecordBatch> {
    let schema = schema_with(batch.schema_ref(), field.clone());
    let mut columns = batch.columns().to_vec();
    match schema.index_of(field.name()).ok().and_then(|i| columns.get_mut(i)) {
        Some(old) => *old = column,
        None => columns.push(column),
    }
    Ok(RecordBatch::try_new_with_options(schema, columns, &arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())))?)
}

/// Whether a type is text or bytes, in any encoding but a dictionary.
pub(crate) fn is_text(t: &DataType) -> bool {
    is_utf8(t) || matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}

/// Whether a type is text.
pub(crate) fn is_utf8(t: &DataType) -> bool {
    matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// A text or binary array (no dictionary) as views, without copying long values.
pub(crate) fn as_views(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Utf8View | DataType::BinaryView => Arc::clone(array),
        t if is_utf8(t) => arrow_cast::cast(array, &DataType::Utf8View)?,
        _ => arrow_cast::cast(array, &DataType::BinaryView)?,
    })
}

/// The bytes of a row of a view array.
#[inline]
pub(crate) fn view_value(array: &ArrayRef, row: usize) -> &[u8] {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().value(row).as_bytes(),
        DataType::BinaryView => array.as_binary_view().value(row),
        _ => &[],
    }
}

/// Text dictionaries as plain text: what leaves an operator that mixes rows of several dictionaries.
pub(crate) fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        t @ DataType::Dictionary(..) => Ok(arrow_cast::cast(array, &plain_type(t))?),
        _ => Ok(Arc::clone(array)),
    }
}

/// The type that [`plain`] gives.
pub(crate) fn plain_type(t: &DataType) -> DataType {
    match t {
        DataType::Dictionary(_, values) => match values.as_ref() {
            v if is_utf8(v) => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            v => v.clone(),
        },
        t => t.clone(),
    }
}
