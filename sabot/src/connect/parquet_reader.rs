//! Reads the rows of a split of a Parquet file.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use arrow_schema::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::errors::ParquetError;

use super::parquet_error::{broken, guarded};
use super::parquet_source::{ParquetFile, Rows};
use super::{fit, spread};
use crate::kernel::Selection;
use crate::operator::{Read, SplitReader};
use crate::{Error, Result};

/// Rows decoded at a time at most, whatever the caller asks for.
const DECODED_ROWS: usize = 65_536;

/// Reads some rows of one row group.
pub(super) struct ParquetReader {
    files: Arc<Vec<ParquetFile>>,
    file: usize,
    schema: SchemaRef,
    projection: Vec<usize>,
    rows: Rows,
    /// Rows returned or left out.
    done: u64,
    /// Ranges of the split that are not left out.
    kept: Vec<(u64, u64)>,
    /// What of them is still to return.
    ranges: VecDeque<(u64, u64)>,
    /// Rows left out since they were last asked for.
    left_out: u64,
    /// Opened at the first read.
    decoder: Option<ParquetRecordBatchReader>,
    /// Decoded rows that the caller did not want yet.
    rest: Option<RecordBatch>,
    /// Which rows of the split are wanted, if they were told apart; the decoder gives these only.
    wanted: Option<BooleanBuffer>,
}

impl ParquetReader {
    /// Reads what is left of the ranges `kept` of the split `rows` after its first `done` rows.
    pub(super) fn new(
        files: Arc<Vec<ParquetFile>>,
        file: usize,
        schema: SchemaRef,
        projection: Vec<usize>,
        rows: Rows,
        done: u64,
        kept: Vec<(u64, u64)>,
    ) -> Self {
        let ranges = kept.iter().filter(|(_, to)| *to > done).map(|(from, to)| (*from.max(&done), *to)).collect();
        ParquetReader { files, file, schema, projection, rows, done, kept, ranges, left_out: 0, decoder: None, rest: None, wanted: None }
    }

    /// Tells apart which rows are wanted, and opens the decoder on them.
    fn open(&mut self, file: &ParquetFile, batch_rows: usize) -> Result<()> {
        let part = format!("row group {}", self.rows.row_group);
        let group = file.metadata.metadata().row_groups().get(self.rows.row_group);
        let total = usize::try_from(group.map_or(0, |g| g.num_rows())).unwrap_or(0);
        let mut ranges = self.of_row_group(self.ranges.iter())?;
        let mut batch_rows = batch_rows.clamp(1, DECODED_ROWS);
        if let Some(sieve) = &file.sieve {
            // of the whole split, wherever this reader begins, so that what is left out does not depend on it
            let kept = self.of_row_group(self.kept.iter())?;
            let wanted = guarded(|| sieve.wanted(&file.path, &file.metadata, self.rows.row_group, &kept));
            if let Some(wanted) = wanted.map_err(|e| broken(&file.path, &part, e))? {
                // of what is decoded at a time few rows are left
                let passed: usize = kept.iter().map(ExactSizeIterator::len).sum();
                batch_rows = (batch_rows * wanted.count_set_bits() / passed.max(1)).max(1024).min(batch_rows);
                self.tell_apart(&wanted)?;
                let (first, mask) = (usize::try_from(self.rows.first).unwrap_or(0), self.wanted.as_ref());
                ranges = mask.map_or(Vec::new(), |m| m.set_slices().map(|(from, to)| first + from..first + to).collect());
                let done = first + usize::try_from(self.done).unwrap_or(0);
                ranges = ranges.into_iter().filter(|r| r.end > done).map(|r| r.start.max(done)..r.end).collect();
            }
        }
        if self.ranges.is_empty() {
            return Ok(());
        }
        let input = File::open(&file.path).map_err(|e| Error::io(&file.path, "cannot open", e))?;
        let mask = ProjectionMask::roots(file.metadata.parquet_schema(), file.projected(&self.projection));
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input, file.metadata.clone())
            .with_row_groups(vec![self.rows.row_group])
            .with_projection(mask)
            .with_row_selection(RowSelection::from_consecutive_ranges(ranges.into_iter(), total))
            .with_batch_size(batch_rows);
        self.decoder = Some(guarded(|| builder.build()).map_err(|e| broken(&file.path, &part, e))?);
        Ok(())
    }

    /// Ranges of the split as ranges of the row group.
    fn of_row_group<'a>(&self, ranges: impl Iterator<Item = &'a (u64, u64)>) -> Result<Vec<Range<usize>>> {
        let to_usize = |n: u64| usize::try_from(n).map_err(|_| Error::internal("a row number beyond the address space"));
        ranges.map(|(from, to)| Ok(to_usize(self.rows.first + from)?..to_usize(self.rows.first + to)?)).collect()
    }

    /// Takes `wanted`, of the rows of all ranges kept, and drops what of them nothing is wanted of.
    fn tell_apart(&mut self, wanted: &BooleanBuffer) -> Result<()> {
        let to_usize = |n: u64| usize::try_from(n).map_err(|_| Error::internal("a split beyond the address space"));
        let rows = to_usize(self.rows.rows)?;
        let (mut mask, mut at) = (BooleanBufferBuilder::new(rows), 0);
        for (from, to) in &self.kept {
            let (from, length) = (to_usize(*from)?, to_usize(to - from)?);
            mask.append_n(from - mask.len(), false);
            mask.append_buffer(&wanted.slice(at, length));
            at += length;
        }
        mask.append_n(rows - mask.len(), false);
        let mask = mask.finish();
        self.ranges.retain(|(from, to)| mask.slice(*from as usize, (to - from) as usize).count_set_bits() > 0);
        self.wanted = Some(mask);
        Ok(())
    }

    /// The next decoded rows: columns in the order of the file.
    fn decode(&mut self, file: &ParquetFile) -> Result<RecordBatch> {
        if let Some(rest) = self.rest.take() {
            return Ok(rest);
        }
        let part = format!("row group {}", self.rows.row_group);
        let mut decoder = self.decoder.take().ok_or_else(|| Error::internal("a Parquet reader without a decoder"))?;
        // After a panic the decoder is dropped: it is put back only once it has returned.
        let next = guarded(|| Ok((decoder.next().transpose()?, decoder))).map_err(|e| broken(&file.path, &part, e))?;
        self.decoder = Some(next.1);
        match next.0 {
            Some(batch) if batch.num_rows() > 0 => Ok(batch),
            _ => {
                let what = format!("it ended after {} of {} rows", self.done, self.rows.rows);
                Err(broken(&file.path, &part, ParquetError::General(what)))
            }
        }
    }

    /// Of the next `available` wanted rows those that are among `max_rows` rows of the split, by their numbers within the
    /// split; all of one range.
    fn numbers(&mut self, available: usize, max_rows: usize) -> Vec<usize> {
        while let (Some((from, to)), Some(wanted)) = (self.ranges.front().copied(), &self.wanted) {
            let (from, to) = (from as usize, to as usize);
            let of_range = wanted.slice(from, to - from);
            let mut set = of_range.set_indices().map(|row| from + row);
            if let Some(first) = set.next() {
                return std::iter::once(first).chain(set.take_while(|row| row - first < max_rows)).take(available).collect();
            }
            self.ranges.pop_front();
        }
        Vec::new()
    }

    /// The columns to deliver of a decoded batch.
    fn columns(&self, file: &ParquetFile, batch: &RecordBatch) -> Vec<ArrayRef> {
        let projected = file.projected(&self.projection);
        let mut order = projected.clone();
        order.sort_unstable();
        let at = projected.iter().filter_map(|root| order.binary_search(root).ok());
        at.filter_map(|i| batch.columns().get(i).map(Arc::clone)).collect()
    }

    /// The rows before `to` are done with.
    fn advance(&mut self, to: u64) {
        self.done = to;
        match self.ranges.front_mut() {
            Some(range) if to < range.1 => range.0 = to,
            _ => drop(self.ranges.pop_front()),
        }
    }
}

impl SplitReader for ParquetReader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        let files = Arc::clone(&self.files);
        let file = files.get(self.file).ok_or_else(|| Error::internal("a Parquet reader without a file"))?;
        let max_rows = max_rows.max(1);
        if self.decoder.is_none() && !self.ranges.is_empty() {
            self.open(file, max_rows)?;
        }
        if self.wanted.as_ref().is_some_and(|w| w.slice(self.done as usize, w.len() - self.done as usize).count_set_bits() == 0) {
            self.ranges.clear();
        }
        let Some((from, to)) = self.ranges.front().copied() else {
            (self.decoder, self.rest) = (None, None);
            self.left_out += self.rows.rows - self.done;
            self.done = self.rows.rows;
            return Ok(Read::End);
        };
        let mut batch = self.decode(file)?;
        let numbers = self.wanted.is_some().then(|| self.numbers(batch.num_rows(), max_rows));
        // a batch is of one range, so that its rows have consecutive numbers
        let rows = match &numbers {
            Some(numbers) => numbers.len(),
            None => batch.num_rows().min(max_rows).min(usize::try_from(to - from).unwrap_or(usize::MAX)),
        };
        if batch.num_rows() > rows {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
            batch = batch.slice(0, rows);
        }
        let (from, after) = match numbers.as_ref().and_then(|n| n.first().zip(n.last())) {
            Some((first, last)) => (*first as u64, *last as u64 + 1),
            None => (from, from + rows as u64),
        };
        self.left_out += from - self.done;
        let place = |row: usize| {
            let number = numbers.as_ref().and_then(|n| n.get(row)).map_or(from + row as u64, |number| *number as u64);
            file.place(self.rows.row_group, self.rows.first + number)
        };
        let mut batch = fit::conform(&self.schema, &self.columns(file, &batch), batch.num_rows(), place)?;
        debug_assert!(batch.columns().iter().all(|c| c.len() == batch.num_rows()));
        self.advance(after);
        let length = (after - from) as usize;
        if rows == length {
            return Ok(Read::Rows(batch, None));
        }
        let mut words = vec![0u64; length.div_ceil(64)];
        let within: Vec<usize> = numbers.iter().flatten().map(|number| number - from as usize).collect();
        for row in &within {
            if let Some(word) = words.get_mut(row / 64) {
                *word |= 1 << (row % 64);
            }
        }
        batch = spread::spread(&batch, &within, length)?;
        Ok(Read::Some(batch, Selection::new(words)))
    }

    fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    fn position(&self) -> serde_json::Value {
        self.done.into()
    }
}
