//! Brings rows back to where they were among rows that were not read.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch, RecordBatchOptions, StringViewArray, UInt64Array,
    downcast_primitive_array,
};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::DataType;

use crate::Result;

/// Puts row `i` to place `places[i]` (ascending) of `length` places. What the others hold means nothing.
///
/// # Errors
/// If Arrow refuses a column.
pub(super) fn spread(batch: &RecordBatch, places: &[usize], length: usize) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| array(column, places, length)).collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(length));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
}

fn array(column: &ArrayRef, places: &[usize], length: usize) -> Result<ArrayRef> {
    let array = column.as_ref();
    downcast_primitive_array!(
        array => primitive(array, places, length),
        DataType::Utf8View => {
            let text = array.as_string_view();
            let views = ScalarBuffer::from(values(text.views(), places, length));
            // a view of zero is an empty text
            Ok(Arc::new(StringViewArray::try_new(views, text.data_buffers().to_vec(), nulls(array, places, length))?))
        }
        _ => {
            // repeats each row up to the next one: a row of any type is as good as another
            let mut from = Vec::with_capacity(length);
            for (row, place) in places.iter().enumerate() {
                from.resize((*place).max(from.len()), row.saturating_sub(1) as u64);
                from.push(row as u64);
            }
            from.resize(length, places.len().saturating_sub(1) as u64);
            Ok(arrow_select::take::take(array, &UInt64Array::from(from), None)?)
        }
    )
}

fn primitive<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, places: &[usize], length: usize) -> Result<ArrayRef> {
    let values = ScalarBuffer::from(values(array.values(), places, length));
    let spread = PrimitiveArray::<T>::try_new(values, nulls(array, places, length))?;
    Ok(Arc::new(spread.with_data_type(array.data_type().clone())))
}

fn values<T: Copy + Default>(values: &[T], places: &[usize], length: usize) -> Vec<T> {
    let mut spread = vec![T::default(); length];
    for (value, place) in values.iter().zip(places) {
        if let Some(slot) = spread.get_mut(*place) {
            *slot = *value;
        }
    }
    spread
}

fn nulls(array: &dyn Array, places: &[usize], length: usize) -> Option<NullBuffer> {
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0)?;
    let mut valid = arrow_buffer::BooleanBufferBuilder::new(length);
    valid.append_n(length, true);
    for (is_valid, place) in nulls.iter().zip(places).filter(|(is_valid, _)| !is_valid) {
        valid.set_bit(*place, is_valid);
    }
    Some(NullBuffer::new(valid.finish()))
}
