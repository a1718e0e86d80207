//! The order of rows: by Arrow's row format (one `memcmp` order for all columns; floats in IEEE total order), with the first
//! eight bytes beside the row's place, so that most comparisons touch one cache line. A single column whose values fit into a
//! word needs no row format: nulls are set apart, values are sorted as words.

use std::sync::Arc;

use arrow_array::builder::LargeBinaryBuilder;
use arrow_array::{Array, ArrayRef, LargeBinaryArray, RecordBatch};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{Schema, SchemaRef, SortOptions};
use arrow_select::interleave::interleave_record_batch;

use crate::operator::kept::{no_column, pick, positions};
use crate::operator::places::{Place, by_head, sorted};
use crate::operator::words::{are_words, each_word};
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
    word: Option<Word>,
}

/// The one sort column, if its values are words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) column: usize,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

/// The rows of some batches in order.
pub(super) struct Ordered {
    pub(super) places: Vec<Place>,
    /// The keys of all batches, if they are not words.
    rows: Vec<Rows>,
}

impl Ordered {
    /// The keys at these places.
    pub(super) fn keys(&self, places: &[Place]) -> LargeBinaryArray {
        let key = |p: &Place| self.rows.get(p.1 as usize).map(|r| r.row(p.2 as usize));
        let bytes = places.iter().filter_map(key).map(|k| k.data().len()).sum();
        let mut keys = LargeBinaryBuilder::with_capacity(places.len(), bytes);
        places.iter().filter_map(key).for_each(|k| keys.append_value(k.data()));
        keys.finish()
    }
}

impl Sorter {
    pub(crate) fn new(spec: Arc<SortSpec>, schema: &SchemaRef) -> Result<Self> {
        let (converter, columns) = spec.converter(schema)?;
        let word = match (columns.as_slice(), spec.by.as_slice()) {
            (&[column], [key]) if schema.fields().get(column).is_some_and(|f| are_words(f.data_type())) => {
                Some(Word { column, descending: !key.ascending, nulls_first: key.nulls_first })
            }
            _ => None,
        };
        Ok(Sorter { spec, schema: Arc::clone(schema), converter, columns, word })
    }
    /// The one sort column, if its values are words.
    pub(super) fn word(&self) -> Option<Word> {
        self.word
    }
    /// The columns of all batches.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    pub(super) fn spec(&self) -> &SortSpec {
        &self.spec
    }
    /// Where the sort columns are.
    pub(super) fn columns(&self) -> &[usize] {
        &self.columns
    }
    /// The keys of these sort columns.
    pub(super) fn keys(&self, columns: &[ArrayRef]) -> Result<Rows> {
        Ok(self.converter.convert_columns(columns)?)
    }
    /// The keys of a batch.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<Rows> {
        Ok(self.converter.convert_columns(&pick(batch, &self.columns)?)?)
    }
    /// The places of all rows in sorted order; `batches` are in source order.
    pub(super) fn order(&self, batches: &[RecordBatch]) -> Result<Ordered> {
        if let Some(word) = self.word {
            return Ok(Ordered { places: by_word(batches, word)?, rows: Vec::new() });
        }
        let rows = batches.iter().map(|b| self.rows(b)).collect::<Result<Vec<_>>>()?;
        Ok(Ordered { places: sorted(&rows)?, rows })
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

/// The places of all rows in the order of one column.
fn by_word(batches: &[RecordBatch], word: Word) -> Result<Vec<Place>> {
    let total: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let (mut places, mut nulls) = (Vec::with_capacity(total), Vec::new());
    let mut words = Vec::new();
    for (number, batch) in (0u32..).zip(batches) {
        let count = u32::try_from(batch.num_rows()).map_err(|_| Error::internal("a batch of more than 2^32 rows"))?;
        let column = batch.columns().get(word.column).ok_or_else(|| Error::internal("a batch lacks a column of its schema"))?;
        words.clear();
        if !each_word(column.as_ref(), word.descending, &mut words, |w| w) {
            return Err(Error::internal("a sort column of another type than its schema has"));
        }
        match column.nulls().filter(|n| n.null_count() > 0) {
            None => places.extend(words.iter().zip(0..count).map(|(w, row)| (*w, number, row))),
            Some(valid) => {
                for ((w, row), valid) in words.iter().zip(0..count).zip(valid.iter()) {
                    if valid { places.push((*w, number, row)) } else { nulls.push((0, number, row)) }
                }
            }
        }
    }
    by_head(&mut places, &mut Vec::new());
    if nulls.is_empty() {
        return Ok(places);
    }
    let (mut first, second) = if word.nulls_first { (nulls, places) } else { (places, nulls) };
    first.extend(second);
    Ok(first)
}
