//! Rows in layers as few bytes: what a checkpoint costs is mostly bytes that are moved.
//!
//! - Text goes as offsets and bytes, without the sixteen bytes of a view.
//! - Words of 64 bits (integers, times) go as the difference to the least one, in 8, 16 or 32 bits where that is enough; one word that
//!   all rows have goes once.
//! - A column without any value goes as nothing.
//!
//! The rest is an Arrow IPC stream, of batches that stay in the cache while they are made. The declared schema stands before it, with
//! its metadata.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::{UInt8Type, UInt16Type, UInt32Type};
use arrow_array::{
    Array, ArrayRef, NullArray, PrimitiveArray, RecordBatch, RecordBatchOptions, UInt8Array, UInt16Array, UInt32Array, cast::AsArray,
    make_array, new_null_array,
};
use arrow_buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::ipc;
use crate::{Error, Result};

/// Rows that are packed at a time: a few columns of them fit into the second-level cache.
const ROWS: usize = 1 << 14;
/// Text of a piece that offsets of 32 bits reach: 16,384 rows of 64 KiB.
const LONG: usize = 1 << 30;
/// Of a field: the least word of a column that holds differences to it.
const LEAST: &str = "sabot.least";

/// How a column is written.
#[derive(Clone, Copy)]
enum How {
    AsItIs,
    /// No row has a value.
    Nothing,
    /// Text or bytes, as offsets of 32 bits.
    Text,
    /// Words as differences to the least, in so many bytes.
    Words(i64, usize),
}

/// Appends batches of this schema.
pub(super) fn push(schema: &SchemaRef, batches: &[RecordBatch], out: &mut Vec<u8>) -> Result<()> {
    ipc::push_all(schema, &[], out)?;
    let hows: Vec<How> = schema.fields().iter().enumerate().map(|(at, f)| how(f.data_type(), &columns(batches, at))).collect();
    // what grows piece by piece is moved again and again
    out.reserve(hows.iter().enumerate().map(|(at, how)| bytes_of(*how, &columns(batches, at))).sum());
    let fields: Vec<Field> = schema.fields().iter().zip(&hows).map(|(f, how)| packed_field(f, *how)).collect();
    let packed = Arc::new(Schema::new(fields));
    let mut parts = batches.iter().flat_map(|b| (0..b.num_rows()).step_by(ROWS).map(|from| b.slice(from, ROWS.min(b.num_rows() - from))));
    ipc::push_each(&packed, out, || {
        let Some(part) = parts.next() else { return Ok(None) };
        let columns = part.columns().iter().zip(&hows).map(|(c, how)| pack(c, *how)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(part.num_rows()));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&packed), columns, &options)?))
    })
}

/// What [`push`] wrote.
pub(super) fn pop(from: &mut &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let (schema, _) = ipc::pop_all(from)?;
    let (packed, batches) = ipc::pop_all(from)?;
    if packed.fields().len() != schema.fields().len() {
        return Err(Error::Checkpoint("a layer of rows lacks columns".into()));
    }
    let unpacked = |batch: &RecordBatch| {
        let columns = batch.columns().iter().zip(packed.fields()).zip(schema.fields());
        let columns = columns.map(|((c, p), f)| unpack(c, p, f.data_type())).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?)
    };
    let batches = batches.iter().map(unpacked).collect::<Result<Vec<_>>>()?;
    Ok((schema, batches))
}

fn columns(batches: &[RecordBatch], at: usize) -> Vec<&ArrayRef> {
    batches.iter().filter_map(|b| b.columns().get(at)).collect()
}

fn is_word(of: &DataType) -> bool {
    matches!(
        of,
        DataType::Int64 | DataType::UInt64 | DataType::Timestamp(..) | DataType::Duration(_) | DataType::Date64 | DataType::Time64(_)
    )
}

/// The words of a column, with those of rows that have no value.
fn words(data: &ArrayData) -> &[i64] {
    data.buffer::<i64>(0).get(..data.len()).unwrap_or(&[])
}

fn how(of: &DataType, columns: &[&ArrayRef]) -> How {
    let rows: usize = columns.iter().map(|c| c.len()).sum();
    if rows > 0 && columns.iter().all(|c| c.null_count() == c.len()) {
        return How::Nothing;
    }
    if matches!(of, DataType::Utf8View | DataType::BinaryView) {
        return if columns.iter().all(|c| c.len() <= ROWS || lengths(c).all(|length| length <= LONG / ROWS)) {
            How::Text
        } else {
            How::AsItIs
        };
    }
    if !is_word(of) || rows == 0 {
        return How::AsItIs;
    }
    let (mut least, mut most) = (i64::MAX, i64::MIN);
    for column in columns {
        for word in words(&column.to_data()) {
            least = least.min(*word);
            most = most.max(*word);
        }
    }
    let nulls = columns.iter().any(|c| c.null_count() > 0);
    match most.wrapping_sub(least) as u64 {
        0 if !nulls => How::Words(least, 0),
        0..=0xff => How::Words(least, 1),
        0x100..=0xffff => How::Words(least, 2),
        0x1_0000..=0xffff_ffff => How::Words(least, 4),
        _ => How::AsItIs,
    }
}

/// About how many bytes columns take when they are packed.
fn bytes_of(how: How, columns: &[&ArrayRef]) -> usize {
    let of = |column: &&ArrayRef| match how {
        How::AsItIs => column.to_data().get_slice_memory_size().unwrap_or_default(),
        How::Nothing => 0,
        How::Text => lengths(column).sum::<usize>() + 4 * column.len(),
        How::Words(_, bytes) => bytes * column.len(),
    };
    columns.iter().map(of).sum()
}

/// The lengths of texts: the first four bytes of a view.
fn lengths(column: &ArrayRef) -> impl Iterator<Item = usize> {
    let views = column.as_string_view_opt().map(|c| c.views()).or_else(|| column.as_binary_view_opt().map(|c| c.views()));
    views.into_iter().flat_map(|views| views.iter().map(|view| *view as u32 as usize))
}

fn packed_field(field: &Field, how: How) -> Field {
    let of = match (how, field.data_type()) {
        (How::AsItIs, of) => of.clone(),
        (How::Text, DataType::BinaryView) => DataType::Binary,
        (How::Text, _) => DataType::Utf8,
        (How::Nothing | How::Words(_, 0), _) => DataType::Null,
        (How::Words(_, 1), _) => DataType::UInt8,
        (How::Words(_, 2), _) => DataType::UInt16,
        (How::Words(..), _) => DataType::UInt32,
    };
    let nullable = field.is_nullable() || of == DataType::Null;
    let packed = Field::new(field.name(), of, nullable);
    match how {
        How::Words(least, _) => packed.with_metadata(HashMap::from([(LEAST.to_owned(), least.to_string())])),
        _ => packed,
    }
}

fn pack(column: &ArrayRef, how: How) -> Result<ArrayRef> {
    Ok(match how {
        How::AsItIs => Arc::clone(column),
        How::Nothing | How::Words(_, 0) => Arc::new(NullArray::new(column.len())),
        How::Text if *column.data_type() == DataType::BinaryView => arrow_cast::cast(column, &DataType::Binary)?,
        How::Text => arrow_cast::cast(column, &DataType::Utf8)?,
        How::Words(least, bytes) => {
            let (data, nulls) = (column.to_data(), column.nulls().cloned());
            let differences = words(&data).iter().map(|w| w.wrapping_sub(least));
            match bytes {
                1 => Arc::new(UInt8Array::new(differences.map(|w| w as u8).collect(), nulls)),
                2 => Arc::new(UInt16Array::new(differences.map(|w| w as u16).collect(), nulls)),
                _ => Arc::new(UInt32Array::new(differences.map(|w| w as u32).collect(), nulls)),
            }
        }
    })
}

fn unpack(column: &ArrayRef, packed: &Field, of: &DataType) -> Result<ArrayRef> {
    let broken = || Error::Checkpoint(format!("column `{}` of a layer of rows is not what it was", packed.name()));
    if column.data_type() == of {
        return Ok(Arc::clone(column));
    }
    let Some(least) = packed.metadata().get(LEAST) else {
        return match column.data_type() {
            DataType::Null => Ok(new_null_array(of, column.len())),
            _ => Ok(arrow_cast::cast(column, of)?),
        };
    };
    let least: i64 = least.parse().map_err(|_| broken())?;
    let words: ScalarBuffer<i64> = match column.data_type() {
        DataType::Null => vec![least; column.len()].into(),
        DataType::UInt8 => wide(column.as_primitive::<UInt8Type>(), least),
        DataType::UInt16 => wide(column.as_primitive::<UInt16Type>(), least),
        DataType::UInt32 => wide(column.as_primitive::<UInt32Type>(), least),
        _ => return Err(broken()),
    };
    let nulls: Option<NullBuffer> = column.nulls().cloned();
    let words: Buffer = words.into_inner();
    Ok(make_array(ArrayData::builder(of.clone()).len(column.len()).nulls(nulls).add_buffer(words).build()?))
}

fn wide<T: arrow_array::ArrowPrimitiveType>(column: &PrimitiveArray<T>, least: i64) -> ScalarBuffer<i64>
where
    T::Native: Into<i64>,
{
    column.values().iter().map(|difference| least.wrapping_add((*difference).into())).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use arrow_array::{BinaryViewArray, Int64Array, StringViewArray, TimestampMillisecondArray, UInt64Array};

    fn batches(seed: u64, sizes: &[usize]) -> Vec<RecordBatch> {
        let mut x = seed * 2 + 1;
        let mut next = move || {
            x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (x >> 29);
            x
        };
        let wide = [0, 1, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, u64::MAX][seed as usize % 9];
        let base = if seed.is_multiple_of(2) { i64::MIN } else { -5 };
        let mut word = |row: usize| match row % 100 {
            0 => base,
            1 => base.wrapping_add(wide as i64),
            _ => base.wrapping_add((next() % wide.max(1)) as i64),
        };
        let mut out = Vec::new();
        for rows in sizes.iter().copied() {
            let all: Int64Array = (0..rows).map(&mut word).collect::<Vec<_>>().into();
            let some: Int64Array = (0..rows).map(|row| (row % 7 > 0).then(|| word(row))).collect();
            let times: TimestampMillisecondArray = (0..rows).map(&mut word).collect::<Vec<_>>().into();
            let unsigned: UInt64Array = (0..rows).map(|row| word(row) as u64).collect::<Vec<_>>().into();
            let text: StringViewArray = (0..rows).map(|row| (row % 5 > 0).then(|| "ab".repeat(word(row) as u64 as usize % 20))).collect();
            let bytes: BinaryViewArray = (0..rows).map(|row| Some(vec![7u8; row % 30])).collect();
            let none: Int64Array = (0..rows).map(|_| None).collect();
            out.push(
                RecordBatch::try_from_iter_with_nullable([
                    ("all", Arc::new(all) as ArrayRef, false),
                    ("some", Arc::new(some), true),
                    ("times", Arc::new(times.with_timezone("UTC")), false),
                    ("unsigned", Arc::new(unsigned), false),
                    ("text", Arc::new(text), true),
                    ("bytes", Arc::new(bytes), false),
                    ("none", Arc::new(none), true),
                ])
                .unwrap(),
            );
        }
        out
    }

    #[test]
    fn what_is_packed_comes_back() {
        for seed in 0..18 {
            for sizes in [&[][..], &[0], &[1], &[5, 0, 300], &[ROWS + 3, 40]] {
                let all = batches(seed, sizes);
                let schema = batches(seed, &[0])[0].schema();
                let tagged =
                    Arc::new(Schema::new_with_metadata(schema.fields().clone(), HashMap::from([("a".to_owned(), "b".to_owned())])));
                let all: Vec<RecordBatch> = all.iter().map(|b| b.clone().with_schema(Arc::clone(&tagged)).unwrap()).collect();
                let sliced: Vec<RecordBatch> = all.iter().map(|b| b.slice(b.num_rows() / 3, b.num_rows() - b.num_rows() / 3)).collect();
                let mut bytes = Vec::new();
                push(&tagged, &sliced, &mut bytes).unwrap();
                push(&tagged, &[], &mut bytes).unwrap();
                let mut from = bytes.as_slice();
                let (read, batches) = pop(&mut from).unwrap();
                assert_eq!(read, tagged);
                let whole = |b: &[RecordBatch]| arrow_select::concat::concat_batches(&tagged, b).unwrap();
                assert_eq!(whole(&batches), whole(&sliced), "seed {seed} {sizes:?}");
                assert!(pop(&mut from).unwrap().1.is_empty() && from.is_empty());
            }
        }
    }

    #[test]
    fn small_numbers_take_few_bytes() {
        let column = |by: i64| Arc::new((0..10_000).map(|n| 1_700_000_000_000 + n * by).collect::<Int64Array>()) as ArrayRef;
        let text: StringViewArray = (0..10_000).map(|n| Some(format!("{}", n % 10))).collect();
        let batch = RecordBatch::try_from_iter([("a", column(0)), ("b", column(1)), ("t", Arc::new(text) as ArrayRef)]).unwrap();
        let mut bytes = Vec::new();
        push(&batch.schema(), &[batch], &mut bytes).unwrap();
        assert!(bytes.len() < 10_000 * 7 + 4000, "{} bytes", bytes.len());
    }
}
