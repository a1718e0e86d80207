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
use crate::kernel::PLACE;

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

/// Carries hidden columns over from one batch to another: weights, and [places](PLACE). Batches of one schema get one schema: operators
/// behind know them by it.
#[derive(Debug, Default)]
pub(crate) struct Carried(Option<(SchemaRef, Vec<&'static str>, SchemaRef)>);

impl Carried {
    /// `to` with the weights and places of `from`, if it has any: the rows of both are the same.
    pub(crate) fn carry(&mut self, from: &RecordBatch, to: RecordBatch) -> Result<RecordBatch> {
        self.carry_some(&[PLACE, WEIGHT], from, to)
    }
    /// The same, of places alone.
    pub(crate) fn carry_places(&mut self, from: &RecordBatch, to: RecordBatch) -> Result<RecordBatch> {
        self.carry_some(&[PLACE], from, to)
    }
    fn carry_some(&mut self, names: &[&'static str], from: &RecordBatch, to: RecordBatch) -> Result<RecordBatch> {
        let hidden: Vec<(&'static str, ArrayRef)> =
            names.iter().filter_map(|name| Some((*name, Arc::clone(from.column_by_name(name)?)))).collect();
        if hidden.is_empty() { Ok(to) } else { self.add(to, hidden) }
    }
    /// `to` with these weights.
    pub(crate) fn with(&mut self, to: RecordBatch, weights: ArrayRef) -> Result<RecordBatch> {
        self.add(to, vec![(WEIGHT, weights)])
    }
    /// `to` with these places.
    pub(crate) fn with_places(&mut self, to: RecordBatch, places: ArrayRef) -> Result<RecordBatch> {
        self.add(to, vec![(PLACE, places)])
    }
    fn add(&mut self, to: RecordBatch, hidden: Vec<(&'static str, ArrayRef)>) -> Result<RecordBatch> {
        let names = || hidden.iter().map(|(name, _)| *name);
        let schema = match &self.0 {
            Some((bare, of, full)) if Arc::ptr_eq(bare, to.schema_ref()) && names().eq(of.iter().copied()) => Arc::clone(full),
            _ => {
                let field = |(name, column): &(&str, ArrayRef)| Arc::new(Field::new(*name, column.data_type().clone(), false));
                let fields = to.schema_ref().fields().iter().cloned().chain(hidden.iter().map(field));
                let full: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                self.0 = Some((to.schema(), names().collect(), Arc::clone(&full)));
                full
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(to.num_rows()));
        let columns = to.columns().iter().cloned().chain(hidden.into_iter().map(|(_, column)| column)).collect();
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}
