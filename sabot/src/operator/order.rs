//! The order of rows by some columns: Arrow's row format to decide, and one word per row to decide most cases at once.
//!
//! The *head* of a row is a word made from its first order column such that a smaller head means an earlier row; rows of
//! equal heads may differ. Heads of fixed-width columns are computed in one pass over the values, so that a threshold on
//! them is compared for 64 rows at a time.

use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{DataType, Schema, SortOptions};

use super::SortSpec;
use super::kept::{as_views, is_text, no_column, pick, positions, view_value};
use super::words::each_word;
use crate::{Error, Result};

/// Greater than every head.
pub(super) const BEYOND: u64 = u64::MAX;
/// The greatest head of a value; nulls behind them are one greater.
const LAST: u64 = u64::MAX - 3;

/// An order of rows.
#[derive(Debug)]
pub(super) struct Order {
    converter: RowConverter,
    columns: Vec<usize>,
    first: SortOptions,
    /// A single column of fixed width: equal heads are equal rows, but at the ends, where values are cut to fit nulls in.
    exact: bool,
}

impl Order {
    /// The order of a sort over rows of this schema. There is at least one column.
    pub(super) fn new(spec: &SortSpec, schema: &Schema) -> Result<Self> {
        let names: Vec<String> = spec.by.iter().map(|k| k.column.clone()).collect();
        let columns = positions(schema, &names, &spec.name)?;
        let mut fields = Vec::new();
        let mut exact = columns.len() == 1;
        let mut first = None;
        for key in &spec.by {
            let field = schema.field_with_name(&key.column).map_err(|_| no_column(&key.column, &spec.name))?;
            exact &= field.data_type().primitive_width().is_some_and(|w| w <= 8) || *field.data_type() == DataType::Boolean;
            let options = SortOptions { descending: !key.ascending, nulls_first: key.nulls_first };
            fields.push(SortField::new_with_options(field.data_type().clone(), options));
            first = first.or(Some(options));
        }
        let first = first.ok_or_else(|| Error::Plan(format!("`{}` has no order", spec.name)))?;
        Ok(Order { converter: RowConverter::new(fields)?, columns, first, exact })
    }
    /// The order columns of a batch.
    pub(super) fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        pick(batch, &self.columns)
    }
    /// The rows of these order columns in comparable form.
    pub(super) fn rows(&self, columns: &[ArrayRef]) -> Result<Rows> {
        Ok(self.converter.convert_columns(columns)?)
    }
    /// The head that a row must be below to come before an earlier row with head `worst`.
    pub(super) fn below(&self, worst: u64) -> u64 {
        if self.exact && worst > 1 && worst < LAST { worst } else { worst + 1 }
    }
    /// The heads of all rows of a batch.
    pub(super) fn heads(&self, batch: &RecordBatch, out: &mut Vec<u64>) -> Result<()> {
        out.clear();
        let Some(array) = self.columns.first().and_then(|i| batch.columns().get(*i)) else { return Ok(()) };
        if !self.fixed(array, out) {
            self.other(array, out)?;
        }
        if let Some(nulls) = array.logical_nulls().filter(|n| n.null_count() > 0) {
            let null = if self.first.nulls_first { 0 } else { LAST + 1 };
            out.iter_mut().zip(nulls.iter()).filter(|(_, valid)| !valid).for_each(|(head, _)| *head = null);
        }
        Ok(())
    }
    fn fixed(&self, array: &ArrayRef, out: &mut Vec<u64>) -> bool {
        let descending = self.first.descending;
        if let DataType::Decimal128(..) = array.data_type() {
            let flip = if descending { !0 } else { 0 };
            let word = |v: &i128| (((*v >> 64) as u64 ^ 1 << 63) ^ flip).clamp(1, LAST);
            out.extend(array.as_primitive::<Decimal128Type>().values().iter().map(word));
            return true;
        }
        each_word(array.as_ref(), descending, out, |word| word.clamp(1, LAST))
    }
    fn other(&self, array: &ArrayRef, out: &mut Vec<u64>) -> Result<()> {
        let head = |bytes: &[u8]| {
            let mut word = [0u8; 8];
            word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            u64::from_be_bytes(word)
        };
        if is_text(array.data_type()) {
            let flip = if self.first.descending { !0 } else { 0 };
            let views = as_views(array)?;
            out.extend((0..views.len()).map(|row| (head(view_value(&views, row)) ^ flip).clamp(1, LAST)));
            return Ok(());
        }
        // the row format orders the rest, nulls included: those are set apart by the caller all the same
        let converter = RowConverter::new(vec![SortField::new_with_options(array.data_type().clone(), self.first)])?;
        let rows = converter.convert_columns(&[ArrayRef::clone(array)])?;
        out.extend(rows.iter().map(|row| head(row.data()).clamp(1, LAST)));
        Ok(())
    }
}
