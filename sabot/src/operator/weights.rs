//! Rows that are taken back: the column that tells them from rows that come.
//!
//! A stream of changes carries each row with a weight: 1 adds it, -1 takes it back. What the stream says is the sum: a row counts
//! as often as its weights add up to. Physically the weight is the last column of each batch, under a name that no record
//! can have; so it goes through exchanges, spills, checkpoints and files of state like any other column. Operators that make a new batch
//! of each row of the old one [`carry`](Carried::carry) it over.

use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{ArrayRef, Int8Array, RecordBatch, RecordBatchOptions, cast::AsArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::Result;

/// The name of the column of weights. `#[derive(Record)]` refuses names that begin with `sabot.`.
pub const WEIGHT: &str = "sabot.weight";

/// The column of weights: 1 or -1.
pub fn weight_field() -> Field {
    Field::new(WEIGHT, DataType::Int8, false)
}

/// The schema with a column of weights behind the last.
pub(crate) fn with_weight_field(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().cloned().chain([Arc::new(weight_field())]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The weights of a batch of changes; `None` if its rows only come.
pub fn weights(batch: &RecordBatch) -> Option<&[i8]> {
    let (at, _) = batch.schema_ref().column_with_name(WEIGHT)?;
    batch.columns().get(at)?.as_primitive_opt::<Int8Type>().map(|w| w.values().as_ref())
}

/// The batch with these weights.
///
/// # Errors
/// If there are not as many as rows.
pub fn with_weights(batch: &RecordBatch, weights: Vec<i8>) -> Result<RecordBatch> {
    let columns = batch.columns().iter().cloned().chain([Arc::new(Int8Array::from(weights)) as ArrayRef]);
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(with_weight_field(batch.schema_ref()), columns.collect(), &options)?)
}

/// The batch without its weights.
///
/// # Errors
/// If Arrow refuses: a bug.
pub fn without_weights(batch: &RecordBatch) -> Result<RecordBatch> {
    let others: Vec<usize> = batch.schema_ref().fields().iter().enumerate().filter(|(_, f)| f.name() != WEIGHT).map(|(at, _)| at).collect();
    Ok(batch.project(&others)?)
}

/// Carries weights over from one batch to another. Batches of one schema get one schema: operators behind know them by it.
#[derive(Debug, Default)]
pub(crate) struct Carried(Option<(SchemaRef, SchemaRef)>);

impl Carried {
    /// `to` with the weights of `from`, if it has any: the rows of both are the same.
    pub(crate) fn carry(&mut self, from: &RecordBatch, to: RecordBatch) -> Result<RecordBatch> {
        let Some((at, _)) = from.schema_ref().column_with_name(WEIGHT) else { return Ok(to) };
        self.with(to, Arc::clone(from.column(at)))
    }
    /// `to` with these weights.
    pub(crate) fn with(&mut self, to: RecordBatch, weights: ArrayRef) -> Result<RecordBatch> {
        let schema = match &self.0 {
            Some((bare, full)) if Arc::ptr_eq(bare, to.schema_ref()) => Arc::clone(full),
            _ => {
                let full = with_weight_field(to.schema_ref());
                self.0 = Some((to.schema(), Arc::clone(&full)));
                full
            }
        };
        let columns = to.columns().iter().cloned().chain([weights]).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(to.num_rows()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}
