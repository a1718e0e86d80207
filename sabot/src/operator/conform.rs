//! Bringing batches to a declared schema, for sinks and unions: columns by name, in order, of the declared types.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, SchemaRef};

use super::weights::Carried;
use super::{Account, Instance, Operator, OperatorFactory, Output, Progress};
use crate::kernel::Morsel;
use crate::record::table;
use crate::{Error, Result};

/// Reorders columns by name, drops the rest, and converts encodings (text, dictionaries, zones) to the declared type.
/// Serves every input port alike, so that it is also a union.
#[derive(Debug)]
pub struct Conform {
    name: Arc<str>,
    schema: SchemaRef,
    carried: Carried,
}

impl Conform {
    /// Instances that deliver `schema`.
    pub fn factory(name: &str, schema: &SchemaRef) -> Arc<dyn OperatorFactory> {
        let (name, schema): (Arc<str>, _) = (name.into(), Arc::clone(schema));
        Arc::new(move |_: Instance| {
            let conform = Conform { name: Arc::clone(&name), schema: Arc::clone(&schema), carried: Carried::default() };
            Ok(Box::new(conform) as Box<dyn Operator>)
        })
    }
}

/// Whether a conversion keeps every value: other encodings of text, bytes, dictionaries, and zones of instants.
fn same_values(from: &DataType, to: &DataType) -> bool {
    use super::kept::{is_text, is_utf8};
    let value = |t: &DataType| match t {
        DataType::Dictionary(_, v) => v.as_ref().clone(),
        t => t.clone(),
    };
    match (value(from), value(to)) {
        (a, b) if a == b => true,
        (a, b) if is_utf8(&a) && is_utf8(&b) => true,
        (a, b) if is_text(&a) && is_text(&b) => is_utf8(&a) == is_utf8(&b),
        (DataType::Timestamp(a, _), DataType::Timestamp(b, _)) => a == b,
        _ => false,
    }
}

/// The batch with the columns of `schema`.
///
/// # Errors
/// [`Error::Schema`] with one line per column that is missing, of another type, or null where it must not be.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef, place: &str) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let mut problems = Vec::new();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let mut problem = |found: String| problems.push((field.name().clone(), field.data_type().to_string(), found));
        let Some(column) = batch.column_by_name(field.name()) else {
            problem("(no such column)".into());
            continue;
        };
        if !field.is_nullable() && column.logical_null_count() > 0 {
            problem(format!("{} with nulls", column.data_type()));
        } else if column.data_type() == field.data_type() {
            columns.push(Arc::clone(column));
        } else if same_values(column.data_type(), field.data_type()) {
            columns.push(arrow_cast::cast(column, field.data_type())?);
        } else {
            problem(column.data_type().to_string());
        }
    }
    if !problems.is_empty() {
        return Err(Error::Schema { place: place.to_owned(), record: "the declared columns".into(), diff: table(&problems) });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

impl Operator for Conform {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let rows = morsel.rows();
        let strict = self.schema.fields().iter().any(|f| !f.is_nullable());
        // dropped rows may hold nulls anywhere: where that matters they go first
        let morsel = if strict && morsel.selection.is_some() { Morsel::new(morsel.compact()?, morsel.origin) } else { morsel };
        let batch = self.carried.carry_places(&morsel.batch, conform(&morsel.batch, &self.schema, &self.name)?)?;
        out.account(Account { used: rows as u64, ..Account::default() });
        out.emit(Morsel { batch, ..morsel });
        Ok(Progress::Done)
    }
}
