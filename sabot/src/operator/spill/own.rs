//! Batches that hold no more memory than their rows need.
//!
//! A slice of a batch keeps the whole batch alive, and text that was gathered from many batches keeps all their buffers: fine
//! for rows on their way, wrong for rows that are kept, counted or written.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, cast::AsArray};
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::operator::ipc;
    use arrow_array::{Int64Array, StringViewArray};

    #[test]
    fn what_was_read_counts_once() {
        let number = |by: i64| -> ArrayRef { Arc::new((0..1000).map(|n| n * by).collect::<Int64Array>()) };
        let text: ArrayRef = Arc::new((0..1000).map(|n| Some(format!("a text with number {n}"))).collect::<StringViewArray>());
        let batch = RecordBatch::try_from_iter([("a", number(1)), ("b", number(2)), ("c", number(3)), ("t", text)]).unwrap();
        let mut bytes = Vec::new();
        ipc::push(&batch, &mut bytes).unwrap();
        let read = ipc::pop(&mut bytes.as_slice()).unwrap().unwrap();
        let (before, after) = (bytes_of(&batch), bytes_of(&read));
        assert!(before > 3 * 8000 && after > 3 * 8000 && after < before + before / 2, "{before} and {after} bytes");
    }
}
