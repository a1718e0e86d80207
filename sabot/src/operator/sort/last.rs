//! The second phase where rows may have to go to disk: all sorted runs become one, at a single instance.

use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::pile::Pile;
use super::sorter::Sorter;
use super::{SortSpec, place_of, state};
use crate::Result;
use crate::kernel::{Morsel, Origin};
use crate::operator::spill::Memory;
use crate::operator::{Account, Frozen, GroupState, Instance, Mark, Operator, OperatorFactory, Output, Progress};

/// Merges the sorted runs of all splits, stably. A single instance with ordered, gathered input.
pub struct MergeSort {
    pile: Pile,
    node: u32,
    sent: usize,
}

impl std::fmt::Debug for MergeSort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergeSort").field("spec", &self.pile.sorter.spec).finish_non_exhaustive()
    }
}

impl MergeSort {
    /// The instance for plan node `node`, which is the source of its rows.
    ///
    /// # Errors
    /// If a sort column does not exist or has no order.
    pub fn factory(spec: Arc<SortSpec>, schema: &SchemaRef, node: u32) -> Result<Arc<dyn OperatorFactory>> {
        let schema = Arc::clone(schema);
        Sorter::new(Arc::clone(&spec), &schema)?;
        Ok(Arc::new(move |_: Instance| {
            let pile = Pile::new(Sorter::new(Arc::clone(&spec), &schema)?);
            Ok(Box::new(MergeSort { pile, node, sent: 0 }) as Box<dyn Operator>)
        }))
    }
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pile.send(self.node, &mut self.sent, Ok, out)
    }
}

impl Operator for MergeSort {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = self.pile.sorter.accept(morsel.compact()?)?;
        out.account(Account { held: batch.num_rows() as i64, ..Account::default() });
        self.pile.add(batch)?;
        Ok(Progress::Done)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pump(out)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        out.pass(Mark::Ascending(place_of(self.node, 0)));
        self.pile.finish()?;
        self.pump(out)
    }
    fn held_bytes(&self) -> usize {
        self.pile.held_bytes()
    }
    fn memory(&mut self, memory: Memory) {
        self.pile.memory(memory);
    }
    fn spillable_bytes(&self) -> usize {
        self.pile.spillable_bytes()
    }
    fn spill(&mut self) -> Result<()> {
        self.pile.spill()
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let (runs, batches) = self.pile.parts();
        Ok(state::write(runs, batches.into_iter().map(|b| (Origin::default(), b)).collect()))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        for (_, batch) in state::read(state)? {
            let batch = self.pile.sorter.accept(batch)?;
            self.pile.add(batch)?;
        }
        Ok(())
    }
}
