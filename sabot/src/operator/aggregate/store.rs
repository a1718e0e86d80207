//! Values of any column type that groups refer to by number.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt32Array, make_array, new_null_array};
use arrow_schema::DataType;

use super::accumulator::input;
use crate::operator::Kept;
use crate::operator::kept::{plain, plain_type};
use crate::record::{Value, own_text_column};
use crate::{Error, Result};

/// The number of no row: it reads as null.
pub(super) const NO_ROW: u32 = u32::MAX;
/// Chunks are joined up to this many rows, so that a store of small batches has few chunks.
const CHUNK: usize = 8192;
/// Rows that a chunk must give on average for it to be worth a look of its own.
const RUN: usize = 512;

/// Rows of one column, numbered from 0 in the order in which they came.
///
/// Cost: rows come in as arrays and leave as one array; short chunks are joined like the digits of a binary counter, so
/// that a row is copied a few times however small the batches are.
pub(super) struct Store {
    data_type: DataType,
    chunks: Vec<ArrayRef>,
    /// Number of the first row of each chunk.
    starts: Vec<usize>,
    rows: usize,
    bytes: usize,
}

impl Store {
    pub(super) fn new(data_type: DataType) -> Self {
        Store { data_type, chunks: Vec::new(), starts: Vec::new(), rows: 0, bytes: 0 }
    }
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.starts.clear();
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
    /// The chunks where these rows are and their places there, if they are there and lie in a few chunks one behind the other: what came
    /// together is asked for together, and is taken in half the time from each chunk by itself.
    fn runs(&self, rows: &[u32]) -> Option<Vec<(&ArrayRef, Vec<u32>)>> {
        let mut runs: Vec<(&ArrayRef, Vec<u32>)> = Vec::new();
        let mut range = 0..0;
        for row in rows {
            let row = *row as usize;
            if !range.contains(&row) {
                if row >= self.rows || runs.len() > rows.len() / RUN {
                    return None;
                }
                let (chunk, start) = self.chunk_of(row)?;
                range = start..start + chunk.len();
                runs.push((chunk, Vec::with_capacity(rows.len())));
            }
            runs.last_mut()?.1.push((row - range.start) as u32);
        }
        Some(runs).filter(|runs| !runs.is_empty())
    }
    fn chunk_of(&self, row: usize) -> Option<(&ArrayRef, usize)> {
        let at = self.starts.partition_point(|start| *start <= row).checked_sub(1)?;
        Some((self.chunks.get(at)?, *self.starts.get(at)?))
    }
    /// These rows as one array.
    pub(super) fn gather(&self, rows: &[u32]) -> Result<ArrayRef> {
        if let Some(runs) = self.runs(rows) {
            let taken = runs.into_iter().map(|(chunk, at)| arrow_select::take::take(chunk, &UInt32Array::from(at), None));
            let taken = taken.collect::<Result<Vec<_>, _>>()?;
            return match taken.as_slice() {
                [only] => Ok(Arc::clone(only)),
                some => Ok(arrow_select::concat::concat(&some.iter().map(|array| array.as_ref()).collect::<Vec<_>>())?),
            };
        }
        // only the chunks that are needed: there may be many, and few rows
        let there = || rows.iter().map(|row| *row as usize).filter(|row| *row < self.rows);
        let number_of = |row: usize| self.starts.partition_point(|s| *s <= row).saturating_sub(1);
        let (first, last) = there().fold((usize::MAX, 0), |(least, most), row| (least.min(row), most.max(row)));
        let needed = if first > last { 0..0 } else { number_of(first)..number_of(last) + 1 };
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
                    chunk = number_of(row);
                    let start = self.starts.get(chunk).copied().unwrap_or_default();
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
