//! Lowering of sorts: who puts the sorted runs of all splits into one order.
//!
//! All threads do, each with all runs in sight (they are shared, not copied), and each puts other parts of the result out. Not
//! so under a memory budget, where one instance alone knows what is in memory and what on disk, and not where checkpoints may be taken,
//! in which each row would be once per thread. Results, and the origins of their rows, are the same.

use std::sync::Arc;

use super::lower::Lower;
use crate::Result;
use crate::operator::{Exchange, Input, MergeSort, PartialSort, SortSpec, Work, range_sort};
use crate::plan::{Node, NodeId};

impl Lower<'_> {
    pub(super) fn sort(&mut self, number: NodeId, node: &Node, spec: SortSpec) -> Result<()> {
        let spec = Arc::new(spec);
        let input = self.input(node, 0, Exchange::Forward, false)?;
        let (schema, upstream_single) = self.upstream(input.from);
        let sources = (0u32..).zip(&self.out.plan.nodes).filter(|(_, n)| matches!(n.work, Work::Source(_))).map(|(n, _)| n);
        let here = self.next() as u32;
        let (factory, runs) = match self.apart {
            true => (PartialSort::factory(Arc::clone(&spec), &schema, here, sources)?, Arc::clone(&schema)),
            false => PartialSort::with_keys(Arc::clone(&spec), &schema, here, sources)?,
        };
        let name = format!("{}.partial", node.id);
        let part = self.push(usize::MAX, name, Work::Operator(factory), vec![input], upstream_single, runs, true, true);
        let here = self.next() as u32;
        let (factory, exchange) = match self.apart {
            true => (MergeSort::factory(spec, &schema, here)?, Exchange::Gather),
            false => (range_sort(spec, &schema, here)?, Exchange::Broadcast),
        };
        let input = Input { from: part, port: 0, exchange, ordered: true };
        self.push(number, node.id.clone(), Work::Operator(factory), vec![input], self.apart, schema, true, true);
        Ok(())
    }
}
