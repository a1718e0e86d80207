//! Batches of pairs, whose rows come from a batch, from stored pieces, or are missing.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Schema, SchemaRef};
use arrow_select::interleave::interleave;

use super::shape::{Shape, Wanted, plain_schema};
use crate::kernel::Origin;
use crate::operator::join::{Condition, JoinSpec};
use crate::plan::JoinKind;
use crate::{Error, Result};

/// Rows of stored batches, by batch and row.
#[derive(Default)]
pub(super) struct Picked {
    batches: Vec<RecordBatch>,
    rows: Vec<(usize, usize)>,
    /// The first batch is a row of nulls, which stands for a row that is missing.
    nulls: bool,
}

impl Picked {
    /// No rows yet; some may be missing.
    pub(super) fn maybe(shape: &Shape) -> Picked {
        let fields = shape.schema.fields().iter();
        let columns: Vec<ArrayRef> = fields.map(|f| new_null_array(f.data_type(), 1)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let none = RecordBatch::try_new_with_options(Arc::clone(&shape.schema), columns, &options);
        Picked { nulls: none.is_ok(), batches: none.into_iter().collect(), rows: Vec::new() }
    }
    /// Adds batches to pick from; the number of the first.
    pub(super) fn add(&mut self, batches: &[RecordBatch]) -> usize {
        let base = self.batches.len();
        self.batches.extend_from_slice(batches);
        base
    }
    /// Picks a row of the batches that were added at `base`.
    pub(super) fn push(&mut self, base: usize, (batch, row): (usize, usize)) {
        self.rows.push((base + batch, row));
    }
    /// Picks no row, where rows may be missing.
    pub(super) fn push_none(&mut self) {
        self.rows.push((0, 0));
    }
    /// Keeps the rows for which `mask` is set.
    pub(super) fn keep(&mut self, mask: &BooleanBuffer) {
        let mut bits = mask.iter();
        self.rows.retain(|_| bits.next() == Some(true));
    }
    fn column(&self, at: usize) -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> = self.batches.iter().filter_map(|b| b.columns().get(at)).map(AsRef::as_ref).collect();
        Ok(interleave(&arrays, &self.rows)?)
    }
}

/// The rows of one side of some pairs.
pub(super) enum Rows<'a> {
    /// These of a batch.
    Of(&'a RecordBatch, &'a [u32]),
    Picked(&'a Picked),
    /// None.
    Missing,
}

impl Rows<'_> {
    fn column(&self, at: usize, kind: &DataType, rows: usize) -> Result<ArrayRef> {
        match self {
            Rows::Of(batch, rows) => {
                let column = batch.columns().get(at).ok_or_else(|| Error::internal("a side of a join lacks a column"))?;
                let first = rows.first().copied().unwrap_or_default();
                if rows.iter().zip(first..).all(|(row, next)| *row == next) {
                    return Ok(column.slice(first as usize, rows.len()));
                }
                Ok(arrow_select::take::take(column, &UInt32Array::from(rows.to_vec()), None)?)
            }
            Rows::Picked(picked) => picked.column(at),
            Rows::Missing => Ok(new_null_array(kind, rows)),
        }
    }
    fn is_there(&self, rows: usize) -> BooleanArray {
        match self {
            Rows::Picked(picked) if picked.nulls => picked.rows.iter().map(|(batch, _)| Some(*batch != 0)).collect(),
            Rows::Of(..) | Rows::Picked(_) => BooleanArray::from(vec![true; rows]),
            Rows::Missing => BooleanArray::from(vec![false; rows]),
        }
    }
}

/// What a join makes of its rows.
pub(super) struct Pairing {
    kind: JoinKind,
    pub(super) shapes: [Shape; 2],
    pub(super) schema: SchemaRef,
    condition: Option<(Condition, SchemaRef)>,
}

impl Pairing {
    /// For inputs with these schemas.
    pub(super) fn new(spec: &JoinSpec, condition: Option<&Condition>, left: &Schema, right: &Schema) -> Result<Pairing> {
        let (lt, rt) = spec.times.as_ref().map(|(l, r)| (l, r)).unzip();
        let (left, right) = (plain_schema(left), plain_schema(right));
        let nanos = spec.nanos(&left, &right)?;
        let every: Vec<String> = left.fields().iter().map(|f| f.name().clone()).collect();
        let (test_left, test_right) = condition.map_or((&[][..], &[][..]), |c| (c.left(), c.right()));
        let left_out = if spec.kind.pairs() { &spec.left } else { &every };
        let of = |on, out, tested, time| Wanted { step: &spec.name, on, out, tested, time, nanos };
        let shapes = [
            Shape::new(&of(&spec.left_on, left_out, test_left, lt), &left)?,
            Shape::new(&of(&spec.right_on, if spec.kind.pairs() { &spec.right } else { &[] }, test_right, rt), &right)?,
        ];
        let schema = spec.output_schema(&left, &right)?;
        let condition = condition.map(|c| Ok::<_, Error>((c.clone(), c.schema(&left, &right)?))).transpose()?;
        Ok(Pairing { kind: spec.kind, shapes, schema, condition })
    }
    /// The batch of these rows: pairs, or the left rows of a semi or anti join.
    pub(super) fn batch(&self, sides: [&Rows<'_>; 2], rows: usize) -> Result<RecordBatch> {
        let mut columns = Vec::new();
        let flags = [self.kind.keeps_right(), self.kind.keeps_left()];
        for ((side, shape), flag) in sides.iter().zip(&self.shapes).zip(flags) {
            for at in &shape.out {
                let kind = shape.schema.fields().get(*at).map_or(DataType::Null, |f| f.data_type().clone());
                columns.push(side.column(*at, &kind, rows)?);
            }
            if flag && self.kind.pairs() {
                columns.push(Arc::new(side.is_there(rows)));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
    /// Whether there is a condition on pairs.
    pub(super) fn is_conditional(&self) -> bool {
        self.condition.is_some()
    }
    /// Which of these pairs fulfil the condition. `places` are the origins of pairs, for the message of an error.
    pub(super) fn test(&self, sides: [&Rows<'_>; 2], rows: usize, place: &dyn Fn(usize) -> Origin) -> Result<BooleanBuffer> {
        let Some((condition, schema)) = &self.condition else { return Ok(BooleanBuffer::new_set(rows)) };
        let mut columns = Vec::new();
        for (side, shape) in sides.iter().zip(&self.shapes) {
            for at in &shape.tested {
                let kind = shape.schema.fields().get(*at).map_or(DataType::Null, |f| f.data_type().clone());
                columns.push(side.column(*at, &kind, rows)?);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let pairs = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
        condition.holds(pairs.clone(), place(0)).or_else(|error| {
            // once more, one at a time, to find the row that fails
            for row in 0..rows {
                condition.holds(pairs.slice(row, 1), place(row))?;
            }
            Err(error)
        })
    }
}
