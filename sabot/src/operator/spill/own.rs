//! Batches that hold no more memory than their rows need.
//!
//! A slice of a batch keeps the whole batch alive, and text that was gathered from many batches keeps all their buffers: fine
//! for rows on their way, wrong for rows that are kept, counted or written.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, cast::AsArray};
use arrow_schema::DataType;

use crate::Result;

/// A column is copied if it keeps this many times what its rows need.
const SLACK: usize = 2;
/// Below this, it does not matter.
const SMALL: usize = 4 << 10;

/// The batch with buffers of its own, where it keeps others' alive.
///
/// # Errors
/// If Arrow refuses to copy a column.
pub(crate) fn own(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(own_column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
}

fn own_column(column: &ArrayRef) -> Result<ArrayRef> {
    let kept = column.get_array_memory_size();
    match column.data_type() {
        DataType::Utf8View if !column.as_string_view().data_buffers().is_empty() => Ok(Arc::new(column.as_string_view().gc())),
        DataType::BinaryView if !column.as_binary_view().data_buffers().is_empty() => Ok(Arc::new(column.as_binary_view().gc())),
        _ if kept <= SMALL => Ok(Arc::clone(column)),
        _ => match column.to_data().get_slice_memory_size() {
            Ok(needed) if kept > SLACK * needed => {
                let all: UInt32Array = (0..column.len() as u32).collect();
                Ok(arrow_select::take::take(column, &all, None)?)
            }
            _ => Ok(Arc::clone(column)),
        },
    }
}

/// Bytes that a batch of its own memory takes.
pub(crate) fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|c| c.get_array_memory_size()).sum()
}
