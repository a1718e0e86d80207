//! The rows of one side of a join that is sent as it changes: each once, with how often it counts and how many partners it has.
//!
//! A row is known by its columns, as bytes that are interned; the rows of a key that count are in a list. The bytes of rows that do not count any
//! more, and keys without rows, go when they are the larger part.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, Field, FieldRef, SchemaRef};

use super::shape::Shape;
use crate::operator::kept::view_value;
use crate::operator::keys::{NO_GROUP, key_groups};
use crate::operator::{Kept, Keys};
use crate::{Error, Result};

/// No row.
pub(super) const NONE: u32 = u32::MAX;
/// So many rows that do not count are kept in any case: fewer are not worth a new table.
const FEW: usize = 1024;

/// What is known of a row.
#[derive(Clone, Copy, Debug)]
struct Row {
    group: u32,
    /// Its neighbours in the list of its key.
    before: u32,
    after: u32,
    times: i64,
    partners: i64,
}

const NEW: Row = Row { group: NO_GROUP, before: NONE, after: NONE, times: 0, partners: 0 };

/// The rows of a side.
pub(super) struct Counted {
    shape: Shape,
    converter: Arc<RowConverter>,
    /// Join keys; of each the first row of its list, and how often its rows count together.
    keys: Keys,
    heads: Vec<u32>,
    totals: Vec<i64>,
    /// Rows by their bytes, and what is known of each.
    bytes: Keys,
    rows: Vec<Row>,
    /// Rows that count.
    live: usize,
}

/// A cheap copy of the rows that count.
pub(super) struct Cut {
    pub(super) shape: Shape,
    converter: Arc<RowConverter>,
    bytes: ArrayRef,
    pub(super) times: Vec<i64>,
    pub(super) partners: Vec<i64>,
}

impl Cut {
    /// The rows as columns.
    pub(super) fn rows(&self) -> Result<RecordBatch> {
        decoded(&self.converter, &self.shape.schema, &self.bytes)
    }
}

impl Counted {
    /// For rows of this shape, joined by keys of these types.
    pub(super) fn new(shape: Shape, fields: &[FieldRef]) -> Result<Counted> {
        let converter = RowConverter::new(shape.schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect())?;
        Ok(Counted {
            shape,
            converter: Arc::new(converter),
            keys: Keys::new(fields)?,
            heads: Vec::new(),
            totals: Vec::new(),
            bytes: Keys::new(&[Arc::new(Field::new("row", DataType::BinaryView, false))])?,
            rows: Vec::new(),
            live: 0,
        })
    }
    /// What it keeps of a row.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }
    /// The numbers of some rows of a batch, whose keys have no null. Rows that are new do not count yet.
    pub(super) fn numbers(&mut self, batch: &RecordBatch, rows: &[u32]) -> Result<Vec<u32>> {
        let bytes: ArrayRef = Arc::new(self.converter.convert_columns(batch.columns())?.try_into_binary()?);
        let keys = self.shape.keys(batch);
        self.place(bytes, &keys, Kept::Some(rows))
    }
    fn place(&mut self, bytes: ArrayRef, keys: &[ArrayRef], kept: Kept<'_>) -> Result<Vec<u32>> {
        let (mut numbers, mut groups) = (Vec::new(), Vec::new());
        self.bytes.insert(&[bytes], kept, &mut numbers)?;
        self.keys.insert(keys, kept, &mut groups)?;
        self.heads.resize(self.keys.len(), NONE);
        self.totals.resize(self.keys.len(), 0);
        self.rows.resize(self.bytes.len(), NEW);
        for (number, group) in numbers.iter().zip(groups) {
            if let Some(row) = self.rows.get_mut(*number as usize) {
                row.group = group;
            }
        }
        Ok(numbers)
    }
    /// The groups of keys of the other side.
    pub(super) fn find(&mut self, keys: &[ArrayRef], rows: &[u32]) -> Result<Vec<u32>> {
        let mut groups = Vec::new();
        self.keys.find(keys, Kept::Some(rows), &mut groups)?;
        Ok(groups)
    }
    /// The group of a row.
    pub(super) fn group(&self, number: u32) -> u32 {
        self.get(number).group
    }
    /// How often the rows of a group count together.
    pub(super) fn total(&self, group: u32) -> i64 {
        self.totals.get(group as usize).copied().unwrap_or_default()
    }
    /// The first row of a group.
    pub(super) fn head(&self, group: u32) -> u32 {
        self.heads.get(group as usize).copied().unwrap_or(NONE)
    }
    fn get(&self, number: u32) -> Row {
        self.rows.get(number as usize).copied().unwrap_or(NEW)
    }
    /// The row behind one in the list of its key.
    pub(super) fn after(&self, number: u32) -> u32 {
        self.get(number).after
    }
    /// How often a row counts.
    pub(super) fn times(&self, number: u32) -> i64 {
        self.get(number).times
    }
    /// A row counts this much more often, and has this many partners now.
    pub(super) fn add(&mut self, number: u32, times: i64, partners: i64) {
        let Some(row) = self.rows.get_mut(number as usize) else { return };
        let before = row.times;
        row.times += times;
        row.partners = partners;
        let (group, now) = (row.group, row.times);
        if let Some(total) = self.totals.get_mut(group as usize) {
            *total += times;
        }
        if before == 0 && now != 0 {
            self.link(number, group);
        } else if before != 0 && now == 0 {
            self.unlink(number, group);
        }
    }
    fn link(&mut self, number: u32, group: u32) {
        let Some(head) = self.heads.get_mut(group as usize) else { return };
        let next = std::mem::replace(head, number);
        if let Some(row) = self.rows.get_mut(number as usize) {
            (row.before, row.after) = (NONE, next);
        }
        if let Some(next) = self.rows.get_mut(next as usize) {
            next.before = number;
        }
        self.live += 1;
    }
    fn unlink(&mut self, number: u32, group: u32) {
        let Row { before, after, .. } = self.get(number);
        match self.rows.get_mut(before as usize) {
            Some(row) => row.after = after,
            None => self.heads.iter_mut().skip(group as usize).take(1).for_each(|head| *head = after),
        }
        if let Some(row) = self.rows.get_mut(after as usize) {
            row.before = before;
        }
        self.live -= 1;
    }
    /// A row has this many more partners. Returns how many it had, and has.
    pub(super) fn meet(&mut self, number: u32, by: i64) -> (i64, i64) {
        let Some(row) = self.rows.get_mut(number as usize) else { return (0, 0) };
        let before = row.partners;
        row.partners += by;
        (before, row.partners)
    }
    /// These rows as columns.
    pub(super) fn decoded(&self, numbers: &[u32]) -> Result<RecordBatch> {
        decoded(&self.converter, &self.shape.schema, &self.bytes_of(numbers)?)
    }
    fn bytes_of(&self, numbers: &[u32]) -> Result<ArrayRef> {
        self.bytes.columns(numbers)?.pop().ok_or_else(|| Error::internal("a row has no bytes"))
    }
    fn counting(&self) -> Vec<u32> {
        self.rows.iter().zip(0u32..).filter(|(row, _)| row.times != 0).map(|(_, number)| number).collect()
    }
    /// A cheap copy.
    pub(super) fn cut(&self) -> Result<Cut> {
        let live = self.counting();
        Ok(Cut {
            shape: self.shape.clone(),
            converter: Arc::clone(&self.converter),
            bytes: self.bytes_of(&live)?,
            times: live.iter().map(|n| self.times(*n)).collect(),
            partners: live.iter().map(|n| self.get(*n).partners).collect(),
        })
    }
    /// Puts rows back that a [cut](Self::cut) had.
    pub(super) fn restore(&mut self, rows: &RecordBatch, times: &[i64], partners: &[i64]) -> Result<()> {
        let all: Vec<u32> = (0..rows.num_rows() as u32).collect();
        for ((number, times), partners) in self.numbers(rows, &all)?.into_iter().zip(times).zip(partners) {
            self.add(number, *times, *partners);
        }
        Ok(())
    }
    /// Drops what does not count any more, if it is the larger part.
    pub(super) fn tidy(&mut self) -> Result<()> {
        if self.rows.len() - self.live > self.live.max(FEW) { self.retain(&|_| true) } else { Ok(()) }
    }
    /// Forgets the rows of a key group.
    pub(super) fn release(&mut self, group: u16) -> Result<()> {
        self.retain(&|g| g != group)
    }
    /// Keeps the rows that count and are in such a key group.
    fn retain(&mut self, mine: &dyn Fn(u16) -> bool) -> Result<()> {
        let mut live = self.counting();
        let groups = |live: &[u32]| live.iter().map(|n| self.group(*n)).collect::<Vec<u32>>();
        let of = key_groups(&self.keys.columns(&groups(&live))?, live.len())?;
        let mut of = of.into_iter();
        live.retain(|_| of.next().is_some_and(mine));
        let (bytes, keys) = (self.bytes_of(&live)?, self.keys.columns(&groups(&live))?);
        let kept: Vec<Row> = live.iter().map(|n| self.get(*n)).collect();
        self.clear();
        for (number, row) in self.place(bytes, &keys, Kept::Range(0, kept.len()))?.into_iter().zip(kept) {
            self.add(number, row.times, row.partners);
        }
        Ok(())
    }
    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.bytes.clear();
        self.heads.clear();
        self.totals.clear();
        self.rows.clear();
        self.live = 0;
    }
    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        let rows = self.rows.capacity() * size_of::<Row>();
        self.keys.bytes() + self.bytes.bytes() + rows + self.heads.capacity() * 4 + self.totals.capacity() * 8
    }
}

/// Rows of these bytes as columns.
fn decoded(converter: &RowConverter, schema: &SchemaRef, bytes: &ArrayRef) -> Result<RecordBatch> {
    let parser = converter.parser();
    let columns = converter.convert_rows((0..bytes.len()).map(|row| parser.parse(view_value(bytes, row))))?;
    let options = RecordBatchOptions::new().with_row_count(Some(bytes.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
