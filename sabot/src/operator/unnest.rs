//! The rows in a column of structs, as the columns of a stream: the second half of `reduce`.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, cast::AsArray};
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;

use super::kept::no_column;
use super::{Account, Instance, Operator, OperatorFactory, Output, Progress};
use crate::Result;
use crate::kernel::Morsel;

/// Replaces the columns by the fields of one of them. A null there is no row. Key columns stay as they are.
#[derive(Debug)]
pub struct Unnest {
    name: Arc<str>,
    column: Arc<str>,
    keys: Arc<[String]>,
    schema: SchemaRef,
}

impl Unnest {
    /// Instances for the step `name` that deliver `schema`, whose fields are keys, or fields of `column`.
    pub fn factory(name: &str, column: &str, keys: &[String], schema: &SchemaRef) -> Arc<dyn OperatorFactory> {
        let (name, column, keys, schema): (Arc<str>, Arc<str>, Arc<[String]>, _) =
            (name.into(), column.into(), keys.into(), Arc::clone(schema));
        Arc::new(move |_: Instance| {
            let unnest =
                Unnest { name: Arc::clone(&name), column: Arc::clone(&column), keys: Arc::clone(&keys), schema: Arc::clone(&schema) };
            Ok(Box::new(unnest) as Box<dyn Operator>)
        })
    }
}

impl Operator for Unnest {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let mut batch = morsel.compact()?;
        let rows = batch.num_rows();
        let find = |batch: &RecordBatch, name: &str| batch.column_by_name(name).cloned().ok_or_else(|| no_column(name, &self.name));
        if let Some(nulls) = find(&batch, &self.column)?.nulls().filter(|n| n.null_count() > 0) {
            batch = filter_record_batch(&batch, &arrow_array::BooleanArray::new(nulls.inner().clone(), None))?;
        }
        let nested = find(&batch, &self.column)?;
        let nested = nested.as_struct_opt().ok_or_else(|| no_column(&self.column, &self.name))?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let column = match nested.column_by_name(field.name()) {
                Some(column) if !self.keys.contains(field.name()) => Arc::clone(column),
                _ => find(&batch, field.name())?,
            };
            columns.push(if column.data_type() == field.data_type() { column } else { arrow_cast::cast(&column, field.data_type())? });
        }
        let used = batch.num_rows();
        out.account(Account { used: used as u64, filtered: (rows - used) as u64, ..Account::default() });
        if used > 0 {
            let options = RecordBatchOptions::new().with_row_count(Some(used));
            out.emit(Morsel::new(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?, morsel.origin));
        }
        Ok(Progress::Done)
    }
}
