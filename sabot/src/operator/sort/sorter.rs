//! The order of rows: by Arrow's row format (one `memcmp` order for all columns; floats in IEEE total order), with the first
//! eight bytes beside the row's place, so that most comparisons touch one cache line.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{Schema, SchemaRef, SortOptions};
use arrow_select::interleave::interleave_record_batch;

use crate::operator::kept::{no_column, pick, positions};
use crate::operator::places::{Place, sorted};
use crate::{Error, Result};

/// One sort column.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SortKey {
    /// The column.
    pub column: String,
    /// Least first.
    pub ascending: bool,
    /// Nulls before all values, whatever the direction.
    pub nulls_first: bool,
}

/// A sort: columns, most significant first.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SortSpec {
    /// Stable id of the step, for messages.
    pub name: String,
    /// The columns.
    pub by: Vec<SortKey>,
}

impl SortSpec {
    fn converter(&self, schema: &Schema) -> Result<(RowConverter, Vec<usize>)> {
        let mut fields = Vec::new();
        for key in &self.by {
            let field = schema.field_with_name(&key.column).map_err(|_| no_column(&key.column, &self.name))?;
            let options = SortOptions { descending: !key.ascending, nulls_first: key.nulls_first };
            fields.push(SortField::new_with_options(field.data_type().clone(), options));
        }
        let names: Vec<String> = self.by.iter().map(|k| k.column.clone()).collect();
        Ok((RowConverter::new(fields)?, positions(schema, &names, &self.name)?))
    }
}

/// Compares the rows of batches.
pub(crate) struct Sorter {
    pub(super) spec: Arc<SortSpec>,
    schema: SchemaRef,
    converter: RowConverter,
    columns: Vec<usize>,
}

impl Sorter {
    pub(crate) fn new(spec: Arc<SortSpec>, schema: &SchemaRef) -> Result<Self> {
        let (converter, columns) = spec.converter(schema)?;
        Ok(Sorter { spec, schema: Arc::clone(schema), converter, columns })
    }
    /// The columns of all batches.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<Rows> {
        Ok(self.converter.convert_columns(&pick(batch, &self.columns)?)?)
    }
    /// The places of all rows in sorted order; `batches` are in source order.
    pub(super) fn order(&self, batches: &[RecordBatch]) -> Result<Vec<Place>> {
        let rows = batches.iter().map(|b| self.rows(b)).collect::<Result<Vec<_>>>()?;
        sorted(&rows)
    }
    pub(super) fn gather(&self, batches: &[RecordBatch], places: &[Place]) -> Result<RecordBatch> {
        let at: Vec<(usize, usize)> = places.iter().map(|p| (p.1 as usize, p.2 as usize)).collect();
        self.interleave(batches, &at)
    }
    /// The rows at these places: (batch, row).
    pub(super) fn interleave(&self, batches: &[RecordBatch], at: &[(usize, usize)]) -> Result<RecordBatch> {
        let refs: Vec<&RecordBatch> = batches.iter().collect();
        if refs.is_empty() || self.schema.fields().is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        Ok(interleave_record_batch(&refs, at)?)
    }
    /// Batches that come from several files may differ in metadata and dictionaries; types must be the declared ones.
    pub(super) fn accept(&self, batch: RecordBatch) -> Result<RecordBatch> {
        RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())
            .map_err(|e| Error::Plan(format!("the rows that `{}` sorts do not have the declared columns: {e}", self.spec.name)))
    }
}
