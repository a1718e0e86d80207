//! The last node: sorts the ranges that are an instance's own, and gives their rows the origins that they have in the whole result.

use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take_record_batch;

use super::{BELOW, NUMBER, dealt, first_of, numbers, ranges};
use crate::kernel::Morsel;
use crate::kernel::hash::KEY_GROUPS;
use crate::operator::sort::pile::{Next, Pile};
use crate::operator::sort::{OUT_ROWS, SortKey, SortSpec, Sorter, place_of};
use crate::operator::spill::Memory;
use crate::operator::{Account, Frozen, GroupState, Instance, Mark, Operator, OperatorFactory, Output, Progress, ipc};
use crate::{Error, Result};

/// In a snapshot: how many rows are in lower ranges.
const TAG: &str = "sabot.below";

/// Sorts the rows of an instance's ranges by key and number.
pub struct RangeMerge {
    pile: Pile,
    /// The columns of the result.
    schema: SchemaRef,
    node: u32,
    instance: Instance,
    /// For each range, the rows of lower ranges.
    below: Vec<u64>,
    /// The rank of the next row, once it is known.
    rank: usize,
}

impl std::fmt::Debug for RangeMerge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RangeMerge").field("spec", &self.pile.sorter.spec).finish_non_exhaustive()
    }
}

impl RangeMerge {
    /// Instances over what [`RangeDeal`](super::RangeDeal) makes of rows of this schema, for plan node `node`, which is the source of the
    /// rows that they send.
    ///
    /// # Errors
    /// If a sort column does not exist or has no order.
    pub fn factory(spec: Arc<SortSpec>, schema: &SchemaRef, node: u32) -> Result<Arc<dyn OperatorFactory>> {
        let (schema, dealt) = (Arc::clone(schema), dealt(schema));
        let number = SortKey { column: NUMBER.into(), ascending: true, nulls_first: true };
        let by = spec.by.iter().cloned().chain([number]).collect();
        let spec = Arc::new(SortSpec { name: spec.name.clone(), by });
        Sorter::new(Arc::clone(&spec), &dealt)?;
        Ok(Arc::new(move |instance: Instance| {
            let pile = Pile::new(Sorter::new(Arc::clone(&spec), &dealt)?);
            let below = vec![0; usize::from(KEY_GROUPS)];
            Ok(Box::new(RangeMerge { pile, schema: Arc::clone(&schema), node, instance, below, rank: 0 }) as Box<dyn Operator>)
        }))
    }
    /// Takes rows that only say how many are below a range. Returns those that are none of these.
    fn take(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>> {
        let numbers = numbers(&batch)?;
        // they are sent alone
        if numbers.values().first().is_none_or(|number| number & BELOW == 0) {
            return Ok(Some(batch));
        }
        for (range, number) in ranges(&batch)?.values().iter().zip(numbers.values()) {
            if let Some(below) = self.below.get_mut(usize::from(*range)) {
                *below += number & !BELOW;
            }
        }
        Ok(None)
    }
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        loop {
            // batches end where those of a sort by one instance do
            match self.pile.next(OUT_ROWS - self.rank % OUT_ROWS)? {
                Next::Rows(batch) => {
                    let rows = batch.num_rows();
                    let own = batch.columns().get(..self.schema.fields().len()).unwrap_or_default();
                    let batch = RecordBatch::try_new(Arc::clone(&self.schema), own.to_vec())?;
                    out.account(Account { used: rows as u64, held: -(rows as i64), ..Account::default() });
                    out.emit(Morsel::new(batch, place_of(self.node, self.rank)));
                    self.rank += rows;
                    if out.full() {
                        return Ok(Progress::More);
                    }
                }
                Next::Later => return Ok(Progress::More),
                Next::Over => return Ok(Progress::Done),
            }
        }
    }
}

impl Operator for RangeMerge {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let rows = morsel.rows();
        let batch = self.pile.sorter.accept(morsel.compact()?)?;
        match self.take(batch)? {
            Some(batch) => {
                out.account(Account { held: rows as i64, ..Account::default() });
                self.pile.add(batch)?;
            }
            None => out.account(Account { used: rows as u64, ..Account::default() }),
        }
        Ok(Progress::Done)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pump(out)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        let below = self.below.get(first_of(self.instance)).copied().unwrap_or_default();
        self.rank = usize::try_from(below).map_err(|_| Error::internal("a sort of more rows than memory has addresses"))?;
        out.pass(Mark::Ascending(place_of(self.node, self.rank)));
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
        let ((runs, batches), below, sorter) = (self.pile.parts(), self.below.clone(), Arc::clone(&self.pile.sorter));
        Ok(Frozen::new(move || {
            let mut states: Vec<Vec<u8>> = vec![Vec::new(); below.len()];
            let mut write = |batch: &RecordBatch| -> Result<()> {
                let of = ranges(batch)?;
                for (range, state) in states.iter_mut().enumerate() {
                    let rows: UInt32Array =
                        (0u32..).zip(of.values()).filter(|(_, r)| usize::from(**r) == range).map(|(row, _)| row).collect();
                    if !rows.is_empty() {
                        ipc::push(&take_record_batch(batch, &rows)?, state)?;
                    }
                }
                Ok(())
            };
            for run in &runs {
                run.blocks.iter().try_for_each(|block| write(&run.file.read(block)?))?;
            }
            batches.iter().try_for_each(&mut write)?;
            let mut out = Vec::new();
            for ((group, mut bytes), below) in (0u16..).zip(states).zip(below) {
                if below > 0 {
                    let none = RecordBatch::new_empty(sorter.schema());
                    ipc::push(&ipc::tagged(&none, [(TAG.to_owned(), below.to_string())])?, &mut bytes)?;
                }
                if !bytes.is_empty() {
                    out.push(GroupState { group, bytes });
                }
            }
            Ok(out)
        }))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let mut bytes = state.bytes.as_slice();
        while let Some(batch) = ipc::pop(&mut bytes)? {
            let below = ipc::tag(&batch, TAG).map(|t| t.parse::<u64>()).transpose();
            let below = below.map_err(|_| Error::Checkpoint("the state of a sort has no number of rows".into()))?;
            if let (Some(below), Some(to)) = (below, self.below.get_mut(usize::from(state.group))) {
                *to += below;
            }
            let batch = self.pile.sorter.accept(batch)?;
            self.pile.add(batch)?;
        }
        Ok(())
    }
}
