//! Values of any column type that groups refer to by number.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt32Array, cast::AsArray, make_array, new_null_array};
use arrow_data::MAX_INLINE_VIEW_LEN;
use arrow_schema::DataType;

use super::accumulator::input;
use crate::operator::kept::{plain, plain_type};
use crate::operator::{Kept, Piece};
use crate::record::{Value, own_text_column};
use crate::{Error, Result};

/// The number of no row: it reads as null.
pub(super) const NO_ROW: u32 = u32::MAX;
/// Chunks are joined up to this many rows, so that a store of small batches has few chunks.
const CHUNK: usize = 8192;
/// Of every so many rows it is known in which chunk the first is: chunks are found without a search.
const STRIDE: usize = 1024;

/// Rows of one column, numbered from 0 in the order in which they came.
///
/// Cost: rows come in as arrays and leave as one array; short chunks are joined like the digits of a binary counter, so
/// that a row is copied a few times however small the batches are.
pub(super) struct Store {
    data_type: DataType,
    chunks: Vec<ArrayRef>,
    /// Number of the first row of each chunk.
    starts: Vec<usize>,
    /// The chunk of each [`STRIDE`]th row.
    index: Vec<u32>,
    rows: usize,
    bytes: usize,
}

impl Store {
    pub(super) fn new(data_type: DataType) -> Self {
        Store { data_type, chunks: Vec::new(), starts: Vec::new(), index: Vec::new(), rows: 0, bytes: 0 }
    }
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.starts.clear();
        self.index.clear();
        (self.rows, self.bytes) = (0, 0);
    }
    /// The number that the next row will have.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    /// Appends rows; they are copied if they share memory with others.
    pub(super) fn push(&mut self, array: ArrayRef) -> Result<()> {
        if array.is_empty() {
            return Ok(());
        }
        if self.rows + array.len() >= NO_ROW as usize {
            return Err(Error::Usage("an aggregate holds more than 2^32 values; aggregate fewer rows at a time, or approximate".into()));
        }
        self.starts.push(self.rows);
        self.rows += array.len();
        self.add(own_text_column(&array)?)?;
        while let [.., a, b] = self.chunks.as_slice()
            && a.len() <= b.len()
            && a.len() + b.len() <= CHUNK
        {
            let joined = arrow_select::concat::concat(&[a.as_ref(), b.as_ref()])?;
            self.bytes -= a.get_array_memory_size() + b.get_array_memory_size();
            self.chunks.truncate(self.chunks.len() - 2);
            self.starts.pop();
            self.add(own_text_column(&joined)?)?;
        }
        self.note();
        Ok(())
    }
    fn add(&mut self, array: ArrayRef) -> Result<()> {
        if *array.data_type() != self.data_type {
            return Err(Error::Plan(format!("an aggregate over {} got a column of type {}", self.data_type, array.data_type())));
        }
        self.bytes += array.get_array_memory_size();
        self.chunks.push(array);
        Ok(())
    }
    /// The chunk of a row that is there, and the number of its first row.
    #[inline]
    fn chunk_of(&self, row: usize) -> (usize, usize) {
        let near = self.index.get(row / STRIDE).copied().unwrap_or_default() as usize;
        let mut found = (near, self.starts.get(near).copied().unwrap_or_default());
        while let Some(start) = self.starts.get(found.0 + 1).copied().filter(|start| *start <= row) {
            found = (found.0 + 1, start);
        }
        found
    }
    /// Notes where the rows of the last chunk are.
    fn note(&mut self) {
        let (last, start) = (self.chunks.len().saturating_sub(1), self.starts.last().copied().unwrap_or_default());
        self.index.truncate(start.div_ceil(STRIDE));
        self.index.resize(self.rows.div_ceil(STRIDE), last as u32);
    }
    /// The chunks that these rows are in, and those between: there may be many, and few rows.
    fn needed(&self, rows: &[u32]) -> Range<usize> {
        let there = rows.iter().map(|row| *row as usize).filter(|row| *row < self.rows);
        let (first, last) = there.fold((usize::MAX, 0), |(least, most), row| (least.min(row), most.max(row)));
        if first > last { 0..0 } else { self.chunk_of(first).0..self.chunk_of(last).0 + 1 }
    }
    /// Appends these rows as the next column.
    pub(super) fn pack(&self, rows: &[u32], piece: &mut Piece<'_>) -> Result<()> {
        if let Some((views, buffers)) = self.views(rows)
            && piece.views(&views, &buffers)?
        {
            return Ok(());
        }
        piece.column(&self.gather(rows)?)
    }
    /// The views of these rows and the buffers that they point into, if they are text or bytes without nulls.
    fn views(&self, rows: &[u32]) -> Option<(Vec<u128>, Vec<&[u8]>)> {
        let needed = self.needed(rows);
        let (mut chunks, mut buffers) = (Vec::with_capacity(needed.len()), Vec::new());
        for chunk in self.chunks.get(needed.clone())? {
            let text = chunk.as_string_view_opt().map(|c| (c.views().as_ref(), c.data_buffers()));
            let (views, own): (&[u128], _) = text.or_else(|| chunk.as_binary_view_opt().map(|c| (c.views().as_ref(), c.data_buffers())))?;
            if chunk.null_count() > 0 {
                return None;
            }
            chunks.push((views, (buffers.len() as u128) << 64));
            buffers.extend(own.iter().map(|buffer| buffer.as_slice()));
        }
        let (mut range, mut views, mut first): (_, &[u128], _) = (0..0, &[], 0);
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            let row = *row as usize;
            if !range.contains(&row) {
                if row >= self.rows {
                    return None;
                }
                let (chunk, start) = self.chunk_of(row);
                (views, first) = chunks.get(chunk.checked_sub(needed.start)?).copied()?;
                range = start..start + views.len();
            }
            let view = *views.get(row - range.start)?;
            // the number of a buffer stands above the length and the first letters
            out.push(if view as u32 > MAX_INLINE_VIEW_LEN { view + first } else { view });
        }
        Some((out, buffers))
    }
    /// These rows as one array.
    pub(super) fn gather(&self, rows: &[u32]) -> Result<ArrayRef> {
        if let ([only], false) = (self.chunks.as_slice(), rows.contains(&NO_ROW)) {
            return Ok(arrow_select::take::take(only, &UInt32Array::from(rows.to_vec()), None)?);
        }
        let needed = self.needed(rows);
        let null = new_null_array(&self.data_type, 1);
        let mut arrays: Vec<&dyn Array> = self.chunks.get(needed.clone()).unwrap_or(&[]).iter().map(|c| c.as_ref()).collect();
        arrays.push(null.as_ref());
        let (mut chunk, mut range) = (0, 0..0);
        let places: Vec<(usize, usize)> = rows
            .iter()
            .map(|row| {
                let row = *row as usize;
                if row >= self.rows {
                    return (needed.len(), 0);
                }
                if !range.contains(&row) {
                    let start;
                    (chunk, start) = self.chunk_of(row);
                    range = start..start + self.chunks.get(chunk).map_or(0, |c| c.len());
                }
                (chunk - needed.start, row - range.start)
            })
            .collect();
        Ok(arrow_select::interleave::interleave(&arrays, &places)?)
    }
}

/// The type in which the values of `V` are stored: that of its column, but text that may come from many dictionaries is plain.
pub(super) fn stored_type<V: Value>() -> DataType {
    plain_type(&V::data_type())
}

/// The first input column, in the type of [`stored_type`].
pub(super) fn stored<V: Value>(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let column =
        input::<V>(columns).map_err(|m| Error::Plan(format!("an aggregate over {} got a column of type {}", m.expected, m.found)))?;
    as_type(&plain(&column)?, &stored_type::<V>())
}

/// The same values as another type that has them.
pub(super) fn as_type(array: &ArrayRef, want: &DataType) -> Result<ArrayRef> {
    match (array.data_type(), want) {
        (have, want) if have == want => Ok(Arc::clone(array)),
        // another zone is the same instant
        (DataType::Timestamp(a, _), DataType::Timestamp(b, _)) if a == b => {
            Ok(make_array(array.to_data().into_builder().data_type(want.clone()).build()?))
        }
        _ => Ok(arrow_cast::cast(array, want)?),
    }
}

/// The kept rows of a column as a column of their own.
pub(super) fn kept_rows(column: &ArrayRef, kept: Kept<'_>) -> Result<ArrayRef> {
    match kept {
        Kept::Range(from, to) if from == 0 && to == column.len() => Ok(Arc::clone(column)),
        _ => Ok(arrow_select::take::take(column, &UInt32Array::from(kept.to_vec()), None)?),
    }
}

/// The kept rows of a column that are not null, as a column of their own, and their groups.
pub(super) fn valid_rows(column: &ArrayRef, groups: &[u32], kept: Kept<'_>) -> Result<(ArrayRef, Vec<u32>)> {
    let Some(nulls) = column.logical_nulls().filter(|n| n.null_count() > 0) else {
        return Ok((
            match kept {
                Kept::Range(from, to) => column.slice(from, to - from),
                Kept::Some(_) => kept_rows(column, kept)?,
            },
            groups.to_vec(),
        ));
    };
    let (mut rows, mut of) = (Vec::with_capacity(kept.len()), Vec::with_capacity(kept.len()));
    kept.each(|i, row| {
        if nulls.is_valid(row) {
            rows.push(row as u32);
            of.push(groups.get(i).copied().unwrap_or_default());
        }
    });
    Ok((arrow_select::take::take(column, &UInt32Array::from(rows), None)?, of))
}

/// The words of an event-time column.
pub(super) fn instants(columns: &[ArrayRef], at: usize) -> Result<arrow_buffer::ScalarBuffer<i64>> {
    let column = columns.get(at).ok_or_else(|| Error::internal("an aggregate in order of event time without its column"))?;
    if column.null_count() > 0 {
        return Err(Error::Plan(
            "event time is null in some rows; make the field a plain `Timestamp`, and drop such rows at the source".into(),
        ));
    }
    super::window::words(column)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::operator::packed;
    use arrow_array::{RecordBatch, StringViewArray};
    use arrow_schema::{Field, Schema};

    #[test]
    fn rows_come_out_however_they_lie() {
        for with_nulls in [false, true] {
            let mut store = Store::new(DataType::Utf8View);
            let mut all: Vec<Option<String>> = Vec::new();
            for rows in [1usize, 3, 5000, 1, 1, 8192, 700, 40, 8000, 2, 9000] {
                let some = (all.len()..all.len() + rows).map(|n| (!with_nulls || n % 5 > 0).then(|| format!("{n} {}", "x".repeat(n % 30))));
                let some: Vec<Option<String>> = some.collect();
                store.push(Arc::new(some.iter().map(Option::as_deref).collect::<StringViewArray>())).unwrap();
                all.extend(some);
            }
            let end = all.len() as u32;
            let ascending = |from: u32, to: u32, step: usize| (from..to).step_by(step).collect::<Vec<u32>>();
            let mixed: Vec<u32> = (0..end).map(|n| n.wrapping_mul(2_654_435_761) % end).collect();
            let mut lists = vec![Vec::new(), vec![7], vec![end - 1, 0], vec![NO_ROW], vec![5, NO_ROW, end - 2]];
            lists.extend([ascending(0, end, 1), ascending(3, end, 7), ascending(5001, 6000, 1), ascending(13_000, 14_000, 3)]);
            lists.extend([mixed[..300].to_vec(), mixed, ascending(0, end, 1).into_iter().rev().collect()]);
            for rows in lists {
                let got = store.gather(&rows).unwrap();
                let got: Vec<Option<&str>> = got.as_string_view().iter().collect();
                let want: Vec<Option<&str>> = rows.iter().map(|row| all.get(*row as usize).and_then(Option::as_deref)).collect();
                assert_eq!(got, want, "{} rows from {:?}", rows.len(), rows.first());
                for rows in rows.chunks(packed::ROWS) {
                    let schema = Arc::new(Schema::new(vec![Field::new("t", DataType::Utf8View, true)]));
                    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![store.gather(rows).unwrap()]).unwrap();
                    let mut bytes = [Vec::new(), Vec::new()];
                    packed::push(&schema, &[batch], &mut bytes[0]).unwrap();
                    packed::begin(&schema, &mut bytes[1]).unwrap();
                    let mut piece = Piece::begin(rows.len(), &mut bytes[1]);
                    store.pack(rows, &mut piece).unwrap();
                    piece.end().unwrap();
                    packed::end(&mut bytes[1]);
                    assert_eq!(bytes[0], bytes[1]);
                }
            }
        }
    }
}
