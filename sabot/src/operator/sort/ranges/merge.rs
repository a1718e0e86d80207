//! The last node: sorts the ranges that are an instance's own, and gives their rows the origins that they have in the whole result.
//!
//! No checkpoint holds anything of it: rows come behind the bounds, and no barrier does ([`ranges`](super)).

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::{BELOW, NUMBER, dealt, first_of, numbers, ranges};
use crate::kernel::Morsel;
use crate::kernel::hash::KEY_GROUPS;
use crate::operator::sort::pile::Pile;
use crate::operator::sort::{SortKey, SortSpec, Sorter, place_of};
use crate::operator::spill::Memory;
use crate::operator::{Account, Instance, Mark, Operator, OperatorFactory, Output, Progress};
use crate::{Error, Result};

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
        let schema = &self.schema;
        let columns = |batch: RecordBatch| {
            let own = batch.columns().get(..schema.fields().len()).unwrap_or_default();
            Ok(RecordBatch::try_new(Arc::clone(schema), own.to_vec())?)
        };
        self.pile.send(self.node, &mut self.rank, columns, out)
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
}
