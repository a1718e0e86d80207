//! Batches that hold no more memory than their rows need.
//!
//! A slice of a batch keeps the whole batch alive, and text that was gathered from many batches keeps all their buffers: fine
//! for rows on their way, wrong for rows that are kept, counted or written.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, RecordBatchOptions, StructArray, UInt32Array, cast::AsArray};
use arrow_buffer::OffsetBuffer;
use arrow_data::ArrayData;
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
    with_columns(batch, own_column)
}

/// The batch with text of its own. Arrow writes the whole buffers of text, whichever rows a slice has: do this before writing.
///
/// # Errors
/// If Arrow refuses to copy a column.
pub(crate) fn own_text(batch: &RecordBatch) -> Result<RecordBatch> {
    with_columns(batch, own_text_column)
}

fn with_columns(batch: &RecordBatch, column: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
}

/// A column with text and bytes of its own, also within lists and structs.
///
/// # Errors
/// If Arrow refuses to put a column together.
pub(crate) fn own_text_column(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Utf8View if !column.as_string_view().data_buffers().is_empty() => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView if !column.as_binary_view().data_buffers().is_empty() => Arc::new(column.as_binary_view().gc()),
        DataType::List(field) if has_text(field.data_type()) => {
            let list = column.as_list::<i32>();
            let (first, last) = (list.value_offsets().first().copied(), list.value_offsets().last().copied());
            let (first, last) = (first.unwrap_or_default() as usize, last.unwrap_or_default() as usize);
            let values = own_text_column(&list.values().slice(first, last - first))?;
            let offsets = OffsetBuffer::from_lengths(list.offsets().lengths());
            Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, list.nulls().cloned())?)
        }
        DataType::Struct(fields) if has_text(column.data_type()) => {
            let columns = column.as_struct().columns().iter().map(own_text_column).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, column.nulls().cloned(), column.len())?)
        }
        _ => Arc::clone(column),
    })
}

fn has_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => true,
        DataType::List(field) => has_text(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|f| has_text(f.data_type())),
        _ => false,
    }
}

fn own_column(column: &ArrayRef) -> Result<ArrayRef> {
    let kept = column.get_array_memory_size();
    match column.data_type() {
        t if has_text(t) => own_text_column(column),
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

/// Bytes that a batch of its own memory takes. Columns that were read from disk are parts of one buffer, which counts once.
pub(crate) fn bytes_of(batch: &RecordBatch) -> usize {
    let mut seen = Vec::new();
    batch.columns().iter().map(|c| size_of_val(c.as_ref()) + buffers(&c.to_data(), &mut seen)).sum()
}

fn buffers(data: &ArrayData, seen: &mut Vec<usize>) -> usize {
    let mut bytes = 0;
    for buffer in data.buffers().iter().chain(data.nulls().map(|n| n.buffer())) {
        let at = buffer.data_ptr().as_ptr() as usize;
        if !seen.contains(&at) {
            seen.push(at);
            bytes += buffer.capacity();
        }
    }
    bytes + data.child_data().iter().map(|child| buffers(child, seen)).sum::<usize>()
}
