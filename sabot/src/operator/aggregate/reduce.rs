//! `reduce`: the rows of a group as one, by a function of two rows.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StructArray, UInt32Array, cast::AsArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Schema};
use arrow_select::take::take_arrays;

use super::{Accumulator, AccumulatorFactory};
use crate::operator::fault::guarded;
use crate::operator::{Failure, Kept};
use crate::record::{Accepted, Buffers, Env, Missing, Named, Rows, Value, Writer, columns_of, schema_of};
use crate::{Error, Result};

/// Reduces the rows of a group with `f`, in row order within a split, then the results of splits in their order. `f` must be
/// associative; it is not called for a group of one row. Its input columns are those of `R`; its result is a column of
/// structs, null if there is no row.
pub fn reduce<R: Named, F: Fn(R, R) -> R + Send + Sync + 'static>(f: F) -> Arc<dyn AccumulatorFactory> {
    Arc::new(ReduceFactory { f: Arc::new(f), kind: PhantomData })
}

struct ReduceFactory<R, F> {
    f: Arc<F>,
    kind: PhantomData<fn() -> R>,
}

impl<R: Named, F: Fn(R, R) -> R + Send + Sync + 'static> AccumulatorFactory for ReduceFactory<R, F> {
    fn create(&self) -> Box<dyn Accumulator> {
        Box::new(Reduced { rows: Vec::<Option<R>>::new(), f: Arc::clone(&self.f) })
    }
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("row", <R as Value>::data_type(), true)]
    }
    fn output(&self) -> (DataType, bool) {
        (<R as Value>::data_type(), true)
    }
    fn inputs(&self) -> usize {
        columns_of::<R>().len()
    }
    fn describe(&self) -> String {
        "reduce".into()
    }
}

/// The row of each group so far.
struct Reduced<R, F> {
    rows: Vec<Option<R>>,
    f: Arc<F>,
}

impl<R: Named, F: Fn(R, R) -> R> Reduced<R, F> {
    fn take(&mut self, groups: &[u32], batch: &RecordBatch) -> Result<(), Failure> {
        let accepted = Accepted::of::<R>(batch, Missing::Refuse, "reduce")?;
        let rows = Rows::<R>::new(&accepted);
        let at = Cell::new(0);
        guarded(&at, || {
            for (row, group) in groups.iter().enumerate() {
                at.set(row);
                if let (Some(view), Some(slot)) = (rows.get(row), self.rows.get_mut(*group as usize)) {
                    let new = R::own(R::value_ref(view.row()));
                    *slot = Some(match slot.take() {
                        Some(old) => (self.f)(old, new),
                        None => new,
                    });
                }
            }
            Ok(())
        })
    }
    fn column(&self, groups: &[u32]) -> Result<ArrayRef> {
        let mut out = <R as Value>::Write::new(groups.len());
        let mut valid = Vec::with_capacity(groups.len());
        for (i, group) in groups.iter().enumerate() {
            let row = self.rows.get(*group as usize).and_then(Option::as_ref);
            valid.push(row.is_some());
            if let Some(row) = row {
                out.put(i, row.borrow(), &Env::COPY);
            }
        }
        let column = out.finish(groups.len(), &Buffers::default());
        if valid.iter().all(|v| *v) {
            return Ok(column);
        }
        let rows = column.as_struct_opt().ok_or_else(|| Error::internal("a record that is no struct"))?;
        // a field that is null below a missing row may be declared without nulls
        Ok(Arc::new(StructArray::try_new(rows.fields().clone(), rows.columns().to_vec(), Some(NullBuffer::from(valid)))?))
    }
}

impl<R: Named, F: Fn(R, R) -> R + Send + Sync> Accumulator for Reduced<R, F> {
    fn resize(&mut self, groups: usize) {
        self.rows.resize_with(groups, || None);
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        // rows that were dropped may hold anything
        let columns = match kept {
            Kept::Range(from, to) => columns.iter().map(|c| c.slice(from, to - from)).collect(),
            Kept::Some(rows) => take_arrays(columns, &UInt32Array::from(rows.to_vec()), None)?,
        };
        let fields: Vec<Field> =
            schema_of::<R>().fields().iter().zip(&columns).map(|(f, c)| Field::new(f.name(), c.data_type().clone(), true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
        self.take(groups, &batch)
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = columns.first().ok_or_else(|| Error::internal("a partial reduce without its rows"))?;
        let column = arrow_select::take::take(column, &UInt32Array::from(kept.to_vec()), None)?;
        let rows =
            column.as_struct_opt().ok_or_else(|| Error::Checkpoint("the state of a `reduce` was written by another function".into()))?;
        let fields: Vec<Field> = rows.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        // without the rows that are missing, whose fields may be null
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), rows.columns().to_vec(), &options)?;
        match rows.nulls().filter(|n| n.null_count() > 0) {
            None => self.take(groups, &batch),
            Some(nulls) => {
                let mask = arrow_array::BooleanArray::new(nulls.inner().clone(), None);
                let groups: Vec<u32> = groups.iter().zip(nulls.iter()).filter(|(_, valid)| *valid).map(|(g, _)| *g).collect();
                self.take(&groups, &arrow_select::filter::filter_record_batch(&batch, &mask)?)
            }
        }
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.column(groups)?])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        Ok(self.column(groups)?)
    }
    fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Option<R>>()
    }
}
