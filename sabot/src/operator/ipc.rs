//! State as bytes: Arrow IPC streams, several of them in one buffer.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Schema, SchemaRef};

use crate::kernel::Origin;
use crate::record::{own_text, take};
use crate::{Error, Result};

/// Appends a batch as a length and an Arrow IPC stream. The schema's metadata is kept.
pub(crate) fn push(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    push_all(batch.schema_ref(), std::slice::from_ref(batch), out)
}

/// Appends batches of this schema as one length and Arrow IPC stream.
pub(crate) fn push_all(schema: &Schema, batches: &[RecordBatch], out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    let mut writer = StreamWriter::try_new(&mut *out, schema)?;
    for batch in batches {
        writer.write(&own_text(batch)?)?;
    }
    writer.finish()?;
    drop(writer);
    let len = (out.len() - start - 8) as u64;
    if let Some(head) = out.get_mut(start..start + 8) {
        head.copy_from_slice(&len.to_le_bytes());
    }
    Ok(())
}

/// The next batch that [`push`] wrote, or `None` at the end.
pub(crate) fn pop(from: &mut &[u8]) -> Result<Option<RecordBatch>> {
    if from.is_empty() {
        return Ok(None);
    }
    let mut reader = StreamReader::try_new(frame(from)?, None)?;
    let schema = reader.schema();
    match reader.next() {
        Some(batch) => Ok(Some(batch?.with_schema(schema)?)),
        None => Ok(Some(RecordBatch::new_empty(schema))),
    }
}

/// What [`push_all`] wrote.
pub(crate) fn pop_all(from: &mut &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let mut reader = StreamReader::try_new(frame(from)?, None)?;
    let batches = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    Ok((reader.schema(), batches))
}

/// The bytes behind a length, as [`push`] writes it before a stream.
pub(crate) fn frame<'a>(from: &mut &'a [u8]) -> Result<&'a [u8]> {
    let head = take(from, 8)?.first_chunk::<8>().copied().unwrap_or_default();
    let len = usize::try_from(u64::from_le_bytes(head)).map_err(|_| Error::Checkpoint("state is cut short".into()))?;
    take(from, len)
}

/// The batch with these entries as its schema's metadata.
pub(crate) fn tagged(batch: &RecordBatch, entries: impl IntoIterator<Item = (String, String)>) -> Result<RecordBatch> {
    let metadata: HashMap<String, String> = entries.into_iter().collect();
    let schema = Schema::new_with_metadata(batch.schema_ref().fields().clone(), metadata);
    Ok(batch.clone().with_schema(Arc::new(schema))?)
}

/// The batch's metadata entry of this name.
pub(crate) fn tag<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a str> {
    batch.schema_ref().metadata().get(name).map(String::as_str)
}

const ORIGIN: &str = "sabot.origin";

/// As [`push`], with the batch's origin.
pub(crate) fn push_with_origin(batch: &RecordBatch, o: Origin, out: &mut Vec<u8>) -> Result<()> {
    push_with(batch, o, [], out)
}

/// As [`push_with_origin`], with further entries.
pub(crate) fn push_with(
    batch: &RecordBatch,
    o: Origin,
    entries: impl IntoIterator<Item = (String, String)>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let origin = format!("{} {} {} {}", o.source, o.partition, o.split, o.row);
    push(&tagged(batch, entries.into_iter().chain([(ORIGIN.to_owned(), origin)]))?, out)
}

/// The origin that [`push_with_origin`] wrote.
pub(crate) fn origin_of(batch: &RecordBatch) -> Result<Origin> {
    let broken = || Error::Checkpoint("a batch of the state has no origin".into());
    let words: Vec<u64> = tag(batch, ORIGIN).ok_or_else(broken)?.split(' ').map_while(|w| w.parse().ok()).collect();
    let [source, partition, split, row] = words.as_slice() else { return Err(broken()) };
    let small = |v: u64| u32::try_from(v).map_err(|_| broken());
    Ok(Origin { source: small(*source)?, partition: small(*partition)?, split: *split, row: *row })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::record::{bytes_of, own};
    use arrow_array::{ArrayRef, Int64Array, ListArray, StringViewArray, StructArray};
    use arrow_buffer::OffsetBuffer;
    use arrow_schema::{DataType, Field};

    fn texts(rows: usize) -> StringViewArray {
        (0..rows).map(|n| Some(format!("a text with number {n:06}"))).collect()
    }

    #[test]
    fn a_slice_is_written_without_the_text_of_the_others() {
        let rows = 10_000;
        let text: ArrayRef = Arc::new(texts(rows));
        let item = Arc::new(Field::new_list_field(DataType::Utf8View, false));
        let list: ArrayRef =
            Arc::new(ListArray::new(Arc::clone(&item), OffsetBuffer::from_repeated_length(2, rows), Arc::new(texts(2 * rows)), None));
        let within: ArrayRef =
            Arc::new(StructArray::from(vec![(Arc::new(Field::new("l", list.data_type().clone(), false)), Arc::clone(&list))]));
        let batch = RecordBatch::try_from_iter([("t", text), ("l", list), ("s", within)]).unwrap();
        for from in [0, 77, rows - 10] {
            let part = batch.slice(from, 10);
            let mut bytes = Vec::new();
            push(&part, &mut bytes).unwrap();
            assert!(bytes.len() < 10_000, "{} bytes for ten rows", bytes.len());
            assert_eq!(pop(&mut bytes.as_slice()).unwrap().unwrap(), part);
            assert_eq!(own(&part).unwrap(), part);
        }
    }

    #[test]
    fn what_was_read_counts_once() {
        let number = |by: i64| -> ArrayRef { Arc::new((0..1000).map(|n| n * by).collect::<Int64Array>()) };
        let text: ArrayRef = Arc::new((0..1000).map(|n| Some(format!("a text with number {n}"))).collect::<StringViewArray>());
        let batch = RecordBatch::try_from_iter([("a", number(1)), ("b", number(2)), ("c", number(3)), ("t", text)]).unwrap();
        let mut bytes = Vec::new();
        push(&batch, &mut bytes).unwrap();
        let read = pop(&mut bytes.as_slice()).unwrap().unwrap();
        let (before, after) = (bytes_of(&batch), bytes_of(&read));
        assert!(before > 3 * 8000 && after > 3 * 8000 && after < before + before / 2, "{before} and {after} bytes");
    }
}
