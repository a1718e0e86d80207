//! The second node: where ranges begin, and which number the first row of each label has. A single instance.

use std::sync::Arc;

use arrow_array::builder::LargeBinaryBuilder;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch, cast::AsArray};
use arrow_schema::SchemaRef;

use super::labels::{Counts, Label, bases};
use super::sample::{Sketch, label_columns, labels_of, words};
use crate::kernel::hash::KEY_GROUPS;
use crate::kernel::{Morsel, Origin};
use crate::operator::spill::Memory;
use crate::operator::{Account, Frozen, GroupState, Instance, Operator, OperatorFactory, Output, Progress};
use crate::{Error, Result};

/// Puts the samples of all instances together, and cuts their order.
#[derive(Debug, Default)]
pub struct RangeBounds {
    sketch: Sketch,
}

impl RangeBounds {
    /// The instance, and the schema of what it says.
    pub fn factory() -> (Arc<dyn OperatorFactory>, SchemaRef) {
        (Arc::new(|_: Instance| Ok(Box::<RangeBounds>::default() as Box<dyn Operator>)), Sketch::schema())
    }
}

/// A place in the order of rows: a key in row format, and a row number.
pub(super) type Bound = (Box<[u8]>, u64);

/// What a dealer is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Where each range but the first begins.
    pub(super) bounds: Vec<Bound>,
    /// The number of each label's first row.
    pub(super) bases: Counts,
}

impl Told {
    /// What follows from all samples.
    fn of(sketch: Sketch) -> Self {
        let bases = bases(&sketch.counts);
        let number = |label: &Label, row: u64| bases.get(label).map_or(row, |base| base + row);
        let mut rows: Vec<Bound> = sketch.smallest.into_iter().map(|s| (s.key, number(&s.label, s.row))).collect();
        rows.sort_unstable();
        let ranges = usize::from(KEY_GROUPS).min(rows.len());
        let bounds = (1..ranges).filter_map(|i| rows.get(i * rows.len() / ranges).cloned()).collect();
        Told { bounds, bases }
    }
    /// As rows of the schema of samples, whose hashes mean nothing.
    fn write(&self) -> Result<RecordBatch> {
        let rows = self.bounds.len() + self.bases.len();
        let none = Label { source: 0, partition: 0, split: 0, generation: 0, instance: 0, from: 0 };
        let mut keys = LargeBinaryBuilder::new();
        self.bounds.iter().for_each(|(key, _)| keys.append_value(key));
        self.bases.iter().for_each(|_| keys.append_null());
        let labels: Vec<Label> = self.bounds.iter().map(|_| none).chain(self.bases.keys().copied()).collect();
        let numbers: PrimitiveArray<UInt64Type> =
            self.bounds.iter().map(|(_, number)| *number).chain(self.bases.values().copied()).collect();
        let hashes: ArrayRef = Arc::new(PrimitiveArray::<UInt64Type>::from_value(0, rows));
        let columns = [Arc::new(keys.finish()) as ArrayRef, hashes];
        let columns = columns.into_iter().chain(label_columns(&labels)).chain([Arc::new(numbers) as ArrayRef]);
        Ok(RecordBatch::try_new(Sketch::schema(), columns.collect())?)
    }
    /// Adds what [`write`](Self::write) gave.
    pub(super) fn read(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = batch.column_by_name("key").and_then(|c| c.as_binary_opt::<i64>());
        let keys = keys.ok_or_else(|| Error::internal("the bounds of a sort have no keys"))?;
        let numbers = words::<UInt64Type>(batch, "rows")?;
        for (at, (label, number)) in labels_of(batch)?.into_iter().zip(numbers.values()).enumerate() {
            if keys.is_null(at) {
                self.bases.insert(label, *number);
            } else {
                self.bounds.push((keys.value(at).into(), *number));
            }
        }
        Ok(())
    }
    /// The range of a row.
    pub(super) fn range(&self, key: &[u8], number: u64) -> u8 {
        let below = self.bounds.partition_point(|(bound, at)| (bound.as_ref(), *at) <= (key, number));
        // few ranges are spread over all, so that instances get some
        (below * usize::from(KEY_GROUPS) / (self.bounds.len() + 1)) as u8
    }
}

impl Operator for RangeBounds {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        out.account(Account { used: morsel.rows() as u64, ..Account::default() });
        self.sketch.read(&morsel.compact()?)?;
        Ok(Progress::Done)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        let told = Told::of(std::mem::take(&mut self.sketch));
        if !told.bases.is_empty() {
            out.emit(Morsel::new(told.write()?, Origin::default()));
        }
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.sketch.bytes()
    }
    fn memory(&mut self, memory: Memory) {
        self.sketch.memory(&memory);
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let sketch = self.sketch.clone();
        Ok(Frozen::new(move || Ok(sketch.save(0)?.into_iter().collect())))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        self.sketch.restore(state)
    }
}
