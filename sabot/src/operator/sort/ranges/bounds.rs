//! The second node: where ranges begin, and which number the first row of each label has. A single instance.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::labels::{Counts, Label, bases};
use super::sample::{Line, Sketch, each, table};
use crate::Result;
use crate::kernel::hash::KEY_GROUPS;
use crate::kernel::{Morsel, Origin};
use crate::operator::spill::Memory;
use crate::operator::{Account, Frozen, GroupState, Instance, Operator, OperatorFactory, Output, Progress};

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
        let none = Label { source: 0, partition: 0, split: 0, generation: 0, instance: 0, from: 0 };
        let bounds = self.bounds.iter().map(|(key, number)| Line { key: Some(key), hash: 0, label: none, rows: *number });
        let bases = self.bases.iter().map(|(label, number)| Line { key: None, hash: 0, label: *label, rows: *number });
        table(bounds.chain(bases))
    }
    /// Adds what [`write`](Self::write) gave.
    pub(super) fn read(&mut self, batch: &RecordBatch) -> Result<()> {
        each(batch, |Line { key, label, rows, .. }| match key {
            None => {
                self.bases.insert(label, rows);
            }
            Some(key) => self.bounds.push((key.into(), rows)),
        })
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
