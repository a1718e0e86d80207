//! The first phase: the rows of each split as sorted runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, SchemaRef};

use super::sorter::Sorter;
use super::{OUT_ROWS, SortSpec, state};
use crate::Result;
use crate::kernel::{Morsel, Origin};
use crate::operator::kept::{schema_with, split_of};
use crate::operator::spill::Memory;
use crate::operator::{Account, Frozen, GroupState, Instance, Operator, OperatorFactory, Output, Progress};
use crate::record::{bytes_of, own};

/// The column of keys behind the others: no name of the user's.
pub(super) const KEY: &str = "sort key";
/// Rows of a split at which they are sent on as a run: their places, twice, fill two megabytes.
const RUN_ROWS: usize = 1 << 16;

/// Sorts the rows of each split and sends them on, as one run or several, when the split ends; earlier if they are many, or under
/// a memory budget.
pub struct PartialSort {
    sorter: Sorter,
    place: Arc<Place>,
    splits: Vec<(Origin, Vec<RecordBatch>)>,
    bytes: usize,
    memory: Option<Memory>,
    /// The schema of runs that carry their keys.
    keyed: Option<SchemaRef>,
}

/// Where a partial sort stands in the plan: what it must know to send rows on before it is told that they are complete.
#[derive(Clone, Debug, Default)]
struct Place {
    node: u32,
    sources: BTreeSet<u32>,
}

impl std::fmt::Debug for PartialSort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartialSort").field("spec", &self.sorter.spec).finish_non_exhaustive()
    }
}

impl PartialSort {
    /// Instances over rows of this schema, as plan node `node`; `sources` are the nodes before it that are sources.
    ///
    /// # Errors
    /// If a sort column does not exist or has no order.
    pub fn factory(
        spec: Arc<SortSpec>,
        schema: &SchemaRef,
        node: u32,
        sources: impl IntoIterator<Item = u32>,
    ) -> Result<Arc<dyn OperatorFactory>> {
        Self::make(spec, schema, node, sources, None)
    }
    /// As [`factory`](Self::factory), for [`range_sort`](super::range_sort): runs carry the keys of their rows, unless these are a column
    /// anyway. Also the schema of runs.
    ///
    /// # Errors
    /// As for [`factory`](Self::factory).
    pub fn with_keys(
        spec: Arc<SortSpec>,
        schema: &SchemaRef,
        node: u32,
        sources: impl IntoIterator<Item = u32>,
    ) -> Result<(Arc<dyn OperatorFactory>, SchemaRef)> {
        let words = Sorter::new(Arc::clone(&spec), schema)?.word().is_some();
        let keyed = (!words).then(|| schema_with(schema, Field::new(KEY, DataType::LargeBinary, false)));
        Ok((Self::make(spec, schema, node, sources, keyed.clone())?, keyed.unwrap_or_else(|| Arc::clone(schema))))
    }
    fn make(
        spec: Arc<SortSpec>,
        schema: &SchemaRef,
        node: u32,
        sources: impl IntoIterator<Item = u32>,
        keyed: Option<SchemaRef>,
    ) -> Result<Arc<dyn OperatorFactory>> {
        let schema = Arc::clone(schema);
        let place = Arc::new(Place { node, sources: sources.into_iter().collect() });
        Sorter::new(Arc::clone(&spec), &schema)?;
        Ok(Arc::new(move |_: Instance| {
            let sorter = Sorter::new(Arc::clone(&spec), &schema)?;
            let (place, keyed) = (Arc::clone(&place), keyed.clone());
            Ok(Box::new(PartialSort { sorter, place, splits: Vec::new(), bytes: 0, memory: None, keyed }) as Box<dyn Operator>)
        }))
    }
    /// Adds rows to their split. Returns the number of the split if it has enough of them.
    fn add(&mut self, origin: Origin, batch: RecordBatch) -> Option<usize> {
        self.bytes += bytes_of(&batch);
        let origin = split_of(origin);
        let at = self.splits.iter().rposition(|(o, _)| *o == origin).unwrap_or(self.splits.len());
        if at == self.splits.len() {
            self.splits.push((origin, Vec::new()));
        }
        let (_, batches) = self.splits.get_mut(at)?;
        batches.push(batch);
        (batches.iter().map(RecordBatch::num_rows).sum::<usize>() >= RUN_ROWS).then_some(at)
    }
    /// Where rows belong that are sent before it is known that their split is complete: rows of no split are stamped with this node when it
    /// finishes; so that all parts of them stay together.
    fn early(place: &Place, origin: Origin) -> Origin {
        if place.sources.contains(&origin.source) { origin } else { Origin { source: place.node, ..origin } }
    }
    fn send(&mut self, origin: Origin, batches: &[RecordBatch], out: &mut dyn Output) -> Result<()> {
        self.bytes = self.bytes.saturating_sub(batches.iter().map(bytes_of).sum());
        let ordered = self.sorter.order(batches)?;
        let size = if self.memory.is_some() { OUT_ROWS } else { ordered.places.len().max(1) };
        for some in ordered.places.chunks(size) {
            let mut run = self.sorter.gather(batches, some)?;
            if self.memory.is_some() {
                run = own(&run)?;
            }
            if let Some(schema) = &self.keyed {
                let keys: ArrayRef = Arc::new(ordered.keys(some));
                run = RecordBatch::try_new(Arc::clone(schema), run.columns().iter().cloned().chain([keys]).collect())?;
            }
            out.account(Account { used: run.num_rows() as u64, held: -(run.num_rows() as i64), ..Account::default() });
            out.emit(Morsel::new(run, origin));
        }
        Ok(())
    }
    fn send_all(&mut self, out: &mut dyn Output, place: impl Fn(Origin) -> Origin) -> Result<()> {
        let mut splits = std::mem::take(&mut self.splits);
        splits.sort_by_key(|(o, _)| *o);
        splits.iter().try_for_each(|(origin, batches)| self.send(place(*origin), batches, out))
    }
}

impl Operator for PartialSort {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let mut batch = self.sorter.accept(morsel.compact()?)?;
        out.account(Account { held: batch.num_rows() as i64, ..Account::default() });
        if batch.num_rows() > 0 {
            if self.memory.is_some() {
                batch = own(&batch)?;
            }
            if let (Some(at), None) = (self.add(morsel.origin, batch), &self.memory) {
                let (origin, batches) = self.splits.remove(at);
                self.send(Self::early(&self.place, origin), &batches, out)?;
            }
        }
        if self.memory.as_ref().is_some_and(|m| self.bytes > m.share() / 4) {
            let here = Arc::clone(&self.place);
            self.send_all(out, |o| Self::early(&here, o))?;
        }
        Ok(Progress::Done)
    }
    fn split_end(&mut self, _port: usize, origin: Origin, out: &mut dyn Output) -> Result<()> {
        let origin = split_of(origin);
        if let Some(at) = self.splits.iter().position(|(o, _)| *o == origin) {
            let (origin, batches) = self.splits.remove(at);
            self.send(origin, &batches, out)?;
        }
        Ok(())
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        self.send_all(out, |o| o)?;
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.bytes
    }
    fn memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        Ok(state::write(Vec::new(), self.splits.iter().flat_map(|(o, batches)| batches.iter().map(|b| (*o, b.clone()))).collect()))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        self.restore_splits(state, &|_| true).map(|_| ())
    }
    /// Rows of a split stay with whoever reads on in it: sent by another instance they would not belong to the split any more, and
    /// equal rows would change places.
    fn restore_splits(&mut self, state: &GroupState, mine: &dyn Fn(Origin) -> bool) -> Result<bool> {
        for (origin, batch) in state::read(state)?.into_iter().filter(|(origin, _)| mine(*origin)) {
            let batch = self.sorter.accept(batch)?;
            self.add(origin, batch);
        }
        Ok(true)
    }
}
