//! Rows as partial states, one each: what the first phase sends where grouping does not make fewer of them.

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;

use super::spec::batch;
use super::{Accumulator, AggregateSpec};
use crate::kernel::Origin;
use crate::operator::Kept;
use crate::{Error, Result};

/// Makes partial states of rows without looking for their groups.
pub(super) struct Raw {
    states: Vec<Box<dyn Accumulator>>,
    /// 0, 1, 2, ...
    numbers: Vec<u32>,
}

impl Raw {
    pub(super) fn new(spec: &AggregateSpec) -> Self {
        Raw { states: spec.accumulators(), numbers: Vec::new() }
    }
    /// The kept rows, in order, as a batch of `schema`: `keys`, and the states of `inputs`.
    pub(super) fn rows(
        &mut self,
        schema: &SchemaRef,
        keys: &[ArrayRef],
        inputs: &[Vec<ArrayRef>],
        kept: Kept<'_>,
        (operator, origin): (&str, Origin),
    ) -> Result<RecordBatch> {
        let rows = kept.len();
        let known = self.numbers.len() as u32;
        self.numbers.extend(known..known.max(rows as u32));
        let numbers = self.numbers.get(..rows).unwrap_or(&[]);
        let mut columns = match kept {
            Kept::Range(from, to) => keys.iter().map(|k| k.slice(from, to - from)).collect(),
            Kept::Some(rows) => arrow_select::take::take_arrays(keys, &UInt32Array::from(rows.to_vec()), None)?,
        };
        for (column, field) in columns.iter_mut().zip(schema.fields()) {
            if column.data_type() != field.data_type() {
                *column = arrow_cast::cast(column, field.data_type())?;
            }
        }
        if self.states.len() != inputs.len() {
            return Err(Error::internal("an aggregation lacks the inputs of a function"));
        }
        for (state, input) in self.states.iter_mut().zip(inputs) {
            state.resize(rows);
            state.update(numbers, kept, input).map_err(|f| f.at(operator, Some(origin)))?;
            columns.extend(state.state(numbers)?);
            state.resize(0);
        }
        batch(schema, columns, rows)
    }
    pub(super) fn bytes(&self) -> usize {
        self.numbers.capacity() * 4 + self.states.iter().map(|s| s.bytes()).sum::<usize>()
    }
}
