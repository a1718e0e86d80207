//! Rows in layers as few bytes: what a checkpoint costs is mostly bytes that are moved.
//!
//! The declared schema stands first, with its metadata, as an empty Arrow IPC stream. Then come pieces of rows, each behind its length
//! (64 bits), and a length of 0. A piece is a number of rows (32 bits), and of each column in turn a byte that says how it is written:
//!
//! - Text goes as lengths and bytes, without the sixteen bytes of a view. Lengths take 8, 16 or 32 bits.
//! - Words of 64 bits (integers, times) go as the difference to the least one, in 8, 16 or 32 bits where that is enough; one word that
//!   all rows have goes once.
//! - Flags go as bits.
//! - A column without any value goes as nothing.
//! - The rest stands behind the columns, as one Arrow IPC stream.
//!
//! All numbers are little endian. A piece and the columns that it is made of stay in the second-level cache.

use std::sync::Arc;

use arrow_array::types::{BinaryType, ByteArrayType, Utf8Type};
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, GenericByteArray, RecordBatch, RecordBatchOptions, StringViewArray, cast::AsArray,
    make_array, new_null_array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_data::{ArrayData, ByteView, MAX_INLINE_VIEW_LEN};
use arrow_schema::{DataType, SchemaRef};

use super::ipc;
use crate::record::take;
use crate::{Error, Result};

/// Rows of a piece.
pub(super) const ROWS: usize = 1 << 12;
/// Text of a column of a piece that views reach, with room to spare.
const LONG: usize = 1 << 30;
/// Bytes of a text that are copied without asking how many there are.
const SHORT: usize = 64;

/// How a column is written.
const AS_IT_IS: u8 = 0;
const NOTHING: u8 = 1;
const TEXT: u8 = 2;
const WORDS: u8 = 3;
const FLAGS: u8 = 4;

/// Appends batches of this schema.
pub(super) fn push(schema: &SchemaRef, batches: &[RecordBatch], out: &mut Vec<u8>) -> Result<()> {
    begin(schema, out)?;
    for batch in batches {
        rows(batch, out)?;
    }
    end(out);
    Ok(())
}

/// Begins rows of this schema.
pub(super) fn begin(schema: &SchemaRef, out: &mut Vec<u8>) -> Result<()> {
    ipc::push_all(schema, &[], out)
}

/// Appends rows, whose columns are those of the schema.
pub(super) fn rows(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    for from in (0..batch.num_rows()).step_by(ROWS) {
        piece(&batch.slice(from, ROWS.min(batch.num_rows() - from)), out)?;
    }
    Ok(())
}

/// No more rows come.
pub(super) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 8]);
}

fn piece(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let mut piece = Piece::begin(batch.num_rows(), out);
    batch.columns().iter().try_for_each(|column| piece.column(column))?;
    piece.end()
}

/// Rows that are appended column by column.
#[derive(Debug)]
pub struct Piece<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    /// Columns that go as they are.
    others: Vec<ArrayRef>,
}

impl<'a> Piece<'a> {
    /// Begins so many rows, [`ROWS`] at most.
    pub(super) fn begin(rows: usize, out: &'a mut Vec<u8>) -> Piece<'a> {
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&(rows as u32).to_le_bytes());
        Piece { out, start, others: Vec::new() }
    }
    /// Appends the next column.
    pub(super) fn column(&mut self, column: &ArrayRef) -> Result<()> {
        if !pack(column, self.out)? {
            self.out.push(AS_IT_IS);
            self.others.push(Arc::clone(column));
        }
        Ok(())
    }
    /// Appends the next column, of views into these buffers; not if texts are too long.
    pub(super) fn views(&mut self, views: &[u128], buffers: &[&[u8]]) -> Result<bool> {
        views_of(views, buffers, None, |_, view| *view as u32, self.out)
    }
    /// All columns are there.
    pub(super) fn end(self) -> Result<()> {
        if !self.others.is_empty() {
            let named = self.others.into_iter().enumerate().map(|(at, column)| (at.to_string(), column, true));
            ipc::push(&RecordBatch::try_from_iter_with_nullable(named)?, self.out)?;
        }
        let length = (self.out.len() - self.start - 8) as u64;
        if let Some(head) = self.out.get_mut(self.start..self.start + 8) {
            head.copy_from_slice(&length.to_le_bytes());
        }
        Ok(())
    }
}

/// Appends a column, unless it is to go as it is.
fn pack(column: &ArrayRef, out: &mut Vec<u8>) -> Result<bool> {
    let nulls = column.nulls().filter(|n| n.null_count() > 0);
    if nulls.is_some_and(|n| n.null_count() == n.len()) {
        out.push(NOTHING);
        return Ok(true);
    }
    match column.data_type() {
        DataType::Utf8View => {
            let column = column.as_string_view();
            views(column.views(), column.data_buffers(), nulls, out)
        }
        DataType::BinaryView => {
            let column = column.as_binary_view();
            views(column.views(), column.data_buffers(), nulls, out)
        }
        DataType::Utf8 => Ok(texts(column.as_bytes::<Utf8Type>(), nulls, out)),
        DataType::Binary => Ok(texts(column.as_bytes::<BinaryType>(), nulls, out)),
        DataType::Boolean => {
            out.push(FLAGS);
            put_nulls(nulls, out);
            out.extend_from_slice(bits(column.as_boolean().values()).as_slice());
            Ok(true)
        }
        of if is_word(of) => {
            let data = column.to_data();
            words(data.buffer::<i64>(0).get(..data.len()).unwrap_or(&[]), nulls, out);
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn is_word(of: &DataType) -> bool {
    matches!(
        of,
        DataType::Int64 | DataType::UInt64 | DataType::Timestamp(..) | DataType::Duration(_) | DataType::Date64 | DataType::Time64(_)
    )
}

/// Bits from the first on.
fn bits(of: &BooleanBuffer) -> Buffer {
    let bytes = of.sliced();
    bytes.slice_with_length(0, of.len().div_ceil(8))
}

fn put_nulls(nulls: Option<&NullBuffer>, out: &mut Vec<u8>) {
    out.push(u8::from(nulls.is_some()));
    if let Some(nulls) = nulls {
        out.extend_from_slice(bits(nulls.inner()).as_slice());
    }
}

/// Appends words, with those of rows that have no value.
fn words(words: &[i64], nulls: Option<&NullBuffer>, out: &mut Vec<u8>) {
    let (least, most) = words.iter().fold((i64::MAX, i64::MIN), |(least, most), word| (least.min(*word), most.max(*word)));
    out.push(WORDS);
    put_nulls(nulls, out);
    out.extend_from_slice(&least.to_le_bytes());
    let differences = words.iter().map(|word| word.wrapping_sub(least) as u64);
    put_numbers(differences, most.wrapping_sub(least) as u64, 0, out);
}

/// Appends numbers with the bytes that each takes before them; `fewest` if `most` needs no more.
fn put_numbers(numbers: impl ExactSizeIterator<Item = u64>, most: u64, fewest: u8, out: &mut Vec<u8>) {
    let bytes = match most {
        0 => fewest,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    };
    out.push(bytes);
    match bytes {
        0 => {}
        1 => out.extend(numbers.map(|n| n as u8)),
        2 => put_wide(numbers.map(|n| (n as u16).to_le_bytes()), out),
        4 => put_wide(numbers.map(|n| (n as u32).to_le_bytes()), out),
        _ => put_wide(numbers.map(u64::to_le_bytes), out),
    }
}

fn put_wide<const N: usize>(numbers: impl ExactSizeIterator<Item = [u8; N]>, out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + numbers.len() * N, 0);
    let (room, _) = out.get_mut(from..).unwrap_or(&mut []).as_chunks_mut::<N>();
    room.iter_mut().zip(numbers).for_each(|(to, number)| *to = number);
}

/// Appends texts as lengths and bytes; not if they are too long.
fn views(views: &[u128], buffers: &[Buffer], nulls: Option<&NullBuffer>, out: &mut Vec<u8>) -> Result<bool> {
    let buffers: Vec<&[u8]> = buffers.iter().map(Buffer::as_slice).collect();
    let buffers = buffers.as_slice();
    match nulls {
        None => views_of(views, buffers, nulls, |_, view| *view as u32, out),
        Some(none) => views_of(views, buffers, nulls, |row, view| if none.is_null(row) { 0 } else { *view as u32 }, out),
    }
}

fn views_of(
    views: &[u128],
    buffers: &[&[u8]],
    nulls: Option<&NullBuffer>,
    length: impl Fn(usize, &u128) -> u32,
    out: &mut Vec<u8>,
) -> Result<bool> {
    let lengths = || views.iter().enumerate().map(|(row, view)| u64::from(length(row, view)));
    let (total, most) = lengths().fold((0, 0), |(total, most), n| (total + n, n.max(most)));
    if total > LONG as u64 {
        return Ok(false);
    }
    out.push(TEXT);
    put_nulls(nulls, out);
    put_numbers(lengths(), most, 1, out);
    out.reserve(total as usize + SHORT);
    for (row, view) in views.iter().enumerate() {
        let length = length(row, view);
        let end = out.len() + length as usize;
        // copies of a fixed length are many times as fast as those of one that is not known
        if length <= MAX_INLINE_VIEW_LEN {
            let [_, _, _, _, text @ ..] = view.to_le_bytes();
            out.extend_from_slice(&text);
        } else {
            let at = ByteView::from(*view);
            let text = buffers.get(at.buffer_index as usize).and_then(|b| b.get(at.offset as usize..)).unwrap_or(&[]);
            match text.first_chunk::<SHORT>() {
                Some(text) if length as usize <= SHORT => out.extend_from_slice(text),
                _ => out.extend_from_slice(text.get(..length as usize).ok_or_else(|| Error::internal("a text is not where it should be"))?),
            }
        }
        out.truncate(end);
    }
    Ok(true)
}

/// The same of texts that stand one behind the other.
fn texts<T: ByteArrayType<Offset = i32>>(column: &GenericByteArray<T>, nulls: Option<&NullBuffer>, out: &mut Vec<u8>) -> bool {
    let offsets = column.value_offsets();
    let (Some(from), Some(to)) = (offsets.first(), offsets.last()) else { return false };
    let bytes = column.value_data().get(*from as usize..*to as usize).unwrap_or(&[]);
    if bytes.len() > LONG {
        return false;
    }
    let lengths = || offsets.iter().zip(offsets.iter().skip(1)).map(|(from, to)| (to - from) as u64);
    out.push(TEXT);
    put_nulls(nulls, out);
    put_numbers(lengths(), lengths().max().unwrap_or_default(), 1, out);
    out.extend_from_slice(bytes);
    true
}

/// What [`push`] wrote.
pub(super) fn pop(from: &mut &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let (schema, _) = ipc::pop_all(from)?;
    let mut batches = Vec::new();
    loop {
        let bytes = ipc::frame(from)?;
        if bytes.is_empty() {
            return Ok((schema, batches));
        }
        batches.push(unpiece(&schema, bytes)?);
    }
}

fn broken() -> Error {
    Error::Checkpoint("a layer of rows is not what it was".into())
}

fn unpiece(schema: &SchemaRef, mut bytes: &[u8]) -> Result<RecordBatch> {
    let rows = u32::from_le_bytes(fixed(&mut bytes)?) as usize;
    let columns = schema.fields().iter().map(|f| unpack(f.data_type(), rows, &mut bytes)).collect::<Result<Vec<_>>>()?;
    let others = if bytes.is_empty() { None } else { ipc::pop(&mut bytes)? };
    let mut others = others.iter().flat_map(|batch| batch.columns());
    let columns = columns.into_iter().map(|c| c.or_else(|| others.next().cloned()).ok_or_else(broken)).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// A column that [`pack`] wrote, or `None` if it stands behind the columns.
fn unpack(of: &DataType, rows: usize, from: &mut &[u8]) -> Result<Option<ArrayRef>> {
    let [how] = fixed(from)?;
    Ok(Some(match how {
        AS_IT_IS => return Ok(None),
        NOTHING => new_null_array(of, rows),
        TEXT => {
            let nulls = take_nulls(rows, from)?;
            let lengths = take_numbers(rows, from)?;
            let total = lengths.iter().try_fold(0u64, |sum, n| sum.checked_add(*n)).filter(|sum| *sum <= LONG as u64).ok_or_else(broken)?;
            let bytes = take(from, total as usize)?;
            match of {
                DataType::Utf8 => Arc::new(offsets::<Utf8Type>(&lengths, bytes, nulls)?),
                DataType::Binary => Arc::new(offsets::<BinaryType>(&lengths, bytes, nulls)?),
                DataType::Utf8View => {
                    let (views, buffers) = as_views(&lengths, bytes);
                    Arc::new(StringViewArray::try_new(views, buffers, nulls)?)
                }
                DataType::BinaryView => {
                    let (views, buffers) = as_views(&lengths, bytes);
                    Arc::new(BinaryViewArray::try_new(views, buffers, nulls)?)
                }
                _ => return Err(broken()),
            }
        }
        WORDS if is_word(of) => {
            let nulls = take_nulls(rows, from)?;
            let least = i64::from_le_bytes(fixed(from)?);
            let words: Vec<i64> = take_numbers(rows, from)?.into_iter().map(|n| least.wrapping_add(n as i64)).collect();
            make_array(ArrayData::builder(of.clone()).len(rows).nulls(nulls).add_buffer(Buffer::from_vec(words)).build()?)
        }
        FLAGS if *of == DataType::Boolean => {
            let nulls = take_nulls(rows, from)?;
            Arc::new(BooleanArray::new(take_bits(rows, from)?, nulls))
        }
        _ => return Err(broken()),
    }))
}

fn fixed<const N: usize>(from: &mut &[u8]) -> Result<[u8; N]> {
    take(from, N)?.first_chunk::<N>().copied().ok_or_else(broken)
}

fn take_bits(rows: usize, from: &mut &[u8]) -> Result<BooleanBuffer> {
    Ok(BooleanBuffer::new(Buffer::from(take(from, rows.div_ceil(8))?), 0, rows))
}

fn take_nulls(rows: usize, from: &mut &[u8]) -> Result<Option<NullBuffer>> {
    let [some] = fixed(from)?;
    if some == 0 { Ok(None) } else { Ok(Some(NullBuffer::new(take_bits(rows, from)?))) }
}

/// What [`put_numbers`] wrote.
fn take_numbers(rows: usize, from: &mut &[u8]) -> Result<Vec<u64>> {
    let [bytes] = fixed(from)?;
    let all = take(from, rows.checked_mul(usize::from(bytes)).ok_or_else(broken)?)?;
    Ok(match bytes {
        0 => vec![0; rows],
        1 => all.iter().map(|n| u64::from(*n)).collect(),
        2 => all.as_chunks::<2>().0.iter().map(|n| u64::from(u16::from_le_bytes(*n))).collect(),
        4 => all.as_chunks::<4>().0.iter().map(|n| u64::from(u32::from_le_bytes(*n))).collect(),
        8 => all.as_chunks::<8>().0.iter().map(|n| u64::from_le_bytes(*n)).collect(),
        _ => return Err(broken()),
    })
}

fn offsets<T: ByteArrayType<Offset = i32>>(lengths: &[u64], bytes: &[u8], nulls: Option<NullBuffer>) -> Result<GenericByteArray<T>> {
    let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|n| *n as usize));
    Ok(GenericByteArray::try_new(offsets, Buffer::from(bytes), nulls)?)
}

fn as_views(lengths: &[u64], bytes: &[u8]) -> (ScalarBuffer<u128>, Vec<Buffer>) {
    let (mut rest, mut offset) = (bytes, 0u32);
    let mut view = |length: &u64| {
        let (text, behind) = rest.split_at_checked(*length as usize).unwrap_or_default();
        let view = arrow_array::builder::make_view(text, 0, offset);
        rest = behind;
        offset += text.len() as u32;
        view
    };
    (lengths.iter().map(&mut view).collect(), vec![Buffer::from(bytes)])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use arrow_array::types::Int8Type;
    use arrow_array::{BinaryArray, DictionaryArray, Int64Array, StringArray, TimestampMillisecondArray, UInt64Array};
    use arrow_schema::Schema;
    use std::collections::HashMap;

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
            let offsets: StringArray = (0..rows).map(|row| (row % 4 > 0).then(|| "xyz".repeat(row % 90))).collect();
            let binary: BinaryArray = (0..rows).map(|row| Some(vec![row as u8; row % 300])).collect();
            let flags: BooleanArray = (0..rows).map(|row| (row % 11 > 0).then_some(word(row) % 3 == 0)).collect();
            let other: DictionaryArray<Int8Type> = (0..rows).map(|row| Some(["a", "b", "c"][row % 3])).collect();
            let none: Int64Array = (0..rows).map(|_| None).collect();
            out.push(
                RecordBatch::try_from_iter_with_nullable([
                    ("all", Arc::new(all) as ArrayRef, false),
                    ("some", Arc::new(some), true),
                    ("times", Arc::new(times.with_timezone("UTC")), false),
                    ("unsigned", Arc::new(unsigned), false),
                    ("text", Arc::new(text), true),
                    ("bytes", Arc::new(bytes), false),
                    ("offsets", Arc::new(offsets), true),
                    ("binary", Arc::new(binary), false),
                    ("flags", Arc::new(flags), true),
                    ("other", Arc::new(other), false),
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
            for sizes in [&[][..], &[0], &[1], &[5, 0, 300], &[ROWS + 3, 40], &[3 * ROWS]] {
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
