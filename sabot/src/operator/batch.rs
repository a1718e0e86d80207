//! Whole-batch user functions.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_schema::{Field, Schema, SchemaRef};

use super::conform::conform;
use super::fault::guarded;
use super::kept::{batch_with, schema_with};
use super::{Account, Batch, Failure, Instance, Operator, OperatorFactory, Output, Progress};
use crate::Result;
use crate::kernel::Morsel;
use crate::record::{Record, schema_of};

/// Adds a column that a user function computes from a whole batch, without its dropped rows.
pub struct BatchOperator<R, F> {
    name: Arc<str>,
    field: Field,
    wanted: SchemaRef,
    compute: Arc<F>,
    record: PhantomData<fn() -> R>,
}

impl<R, F> std::fmt::Debug for BatchOperator<R, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchOperator").field("name", &self.name).field("field", &self.field).finish_non_exhaustive()
    }
}

impl<R: Record, F: Fn(&Batch<R>) -> Result<ArrayRef> + Send + Sync + 'static> BatchOperator<R, F> {
    /// Instances that add (or replace) column `field`.
    pub fn factory(name: &str, field: Field, compute: F) -> Arc<dyn OperatorFactory> {
        let (name, compute): (Arc<str>, _) = (name.into(), Arc::new(compute));
        let wanted = Arc::new(schema_of::<R>());
        Arc::new(move |_: Instance| {
            let (name, field, wanted, compute) = (Arc::clone(&name), field.clone(), Arc::clone(&wanted), Arc::clone(&compute));
            Ok(Box::new(BatchOperator::<R, F> { name, field, wanted, compute, record: PhantomData }) as Box<dyn Operator>)
        })
    }
    /// The columns of the result.
    pub fn output_schema(field: Field, input: &Schema) -> SchemaRef {
        schema_with(input, field)
    }
    fn column(&self, batch: &Batch<R>) -> Result<ArrayRef, Failure> {
        let failed = |what: String| Failure::Row { row: None, what: format!("failed: {what}"), operator: None };
        let column = guarded(&Cell::new(0), || (self.compute)(batch).map_err(|e| failed(e.to_string())))?;
        if column.len() != batch.rows() {
            return Err(failed(format!("it returned {} values for {} rows", column.len(), batch.rows())));
        }
        if column.data_type() != self.field.data_type() {
            return Err(failed(format!("it returned a column of type {}, not {}", column.data_type(), self.field.data_type())));
        }
        if !self.field.is_nullable() && column.logical_null_count() > 0 {
            return Err(failed(format!("it returned nulls for column `{}`, which must have none", self.field.name())));
        }
        Ok(column)
    }
}

impl<R: Record, F: Fn(&Batch<R>) -> Result<ArrayRef> + Send + Sync + 'static> Operator for BatchOperator<R, F> {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let dense = morsel.compact()?;
        let rows = dense.num_rows();
        if rows == 0 {
            return Ok(Progress::Done);
        }
        let batch = Batch::<R>::new(conform(&dense, &self.wanted, &self.name)?);
        let column = self.column(&batch).map_err(|f| f.at(&self.name, Some(morsel.origin)))?;
        out.account(Account { used: rows as u64, ..Account::default() });
        out.emit(Morsel::new(batch_with(&dense, self.field.clone(), column)?, morsel.origin));
        Ok(Progress::Done)
    }
}
