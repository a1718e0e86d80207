//! Lowering of sorts: who puts the rows of all splits into one order.
//!
//! All threads do, each with all runs in sight (they are shared, not copied), and each puts other parts of the result out. Not
//! so under a memory budget, where one instance alone knows what is in memory and what on disk, and not where checkpoints may be taken,
//! in which each row would be once per thread. Over several processes rows cannot be shared, and need not fit into one of them: there each
//! instance has a range of the result. Results, and the origins of their rows, are the same.
//!
//! A job goes on as it began: the states of one way mean nothing to another.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::lower::Lower;
use crate::Result;
use crate::operator::{
    Exchange, InOrder, Input, KeySample, MergeSort, PartialSort, RANGE, RangeBounds, RangeDeal, RangeMerge, SortSpec, Work, range_sort,
};
use crate::plan::{Node, NodeId, blocks_show};

impl Lower<'_> {
    pub(super) fn sort(&mut self, number: NodeId, node: &Node, spec: SortSpec) -> Result<()> {
        let spec = Arc::new(spec);
        let input = self.input(node, 0, Exchange::Forward, false)?;
        let sources = (0u32..).zip(&self.out.plan.nodes).filter(|(_, n)| matches!(n.work, Work::Source(_))).map(|(n, _)| n).collect();
        let before = |part: &str| self.how.before.iter().any(|name| name.strip_prefix(node.id.as_str()) == Some(part));
        if before(DEAL) || (self.how.spread && !before(PARTIAL)) {
            self.spread_sort(number, node, spec, input, sources)
        } else {
            self.shared_sort(number, node, spec, input, sources)
        }
    }

    /// In one process.
    fn shared_sort(&mut self, number: NodeId, node: &Node, spec: Arc<SortSpec>, input: Input, sources: BTreeSet<u32>) -> Result<()> {
        let (schema, upstream_single) = self.upstream(input.from);
        let here = self.next() as u32;
        let (factory, runs) = match self.how.apart {
            true => (PartialSort::factory(Arc::clone(&spec), &schema, here, sources)?, Arc::clone(&schema)),
            false => PartialSort::with_keys(Arc::clone(&spec), &schema, here, sources)?,
        };
        let name = format!("{}{PARTIAL}", node.id);
        let part = self.push(usize::MAX, name, Work::Operator(factory), vec![input], upstream_single, runs, true, true);
        let here = self.next() as u32;
        let (factory, exchange) = match self.how.apart {
            true => (MergeSort::factory(spec, &schema, here)?, Exchange::Gather),
            false => (range_sort(spec, &schema, here)?, Exchange::Broadcast),
        };
        let input = Input { from: part, port: 0, exchange, ordered: true };
        self.push(number, node.id.clone(), Work::Operator(factory), vec![input], self.how.apart, schema, true, true);
        Ok(())
    }

    /// Over several processes.
    fn spread_sort(&mut self, number: NodeId, node: &Node, spec: Arc<SortSpec>, rows: Input, sources: BTreeSet<u32>) -> Result<()> {
        let (schema, single) = self.upstream(rows.from);
        let sources = Arc::new(sources);
        let named = |part: &str| format!("{}{part}", node.id);
        let (factory, samples) = KeySample::factory(Arc::clone(&spec), &schema, Arc::clone(&sources))?;
        let sample = self.push(usize::MAX, named(".sample"), Work::Operator(factory), vec![rows.clone()], single, samples, true, true);

        let (factory, told) = RangeBounds::factory();
        let samples = Input { from: sample, port: 0, exchange: Exchange::Gather, ordered: false };
        let bounds = self.push(usize::MAX, named(".bounds"), Work::Operator(factory), vec![samples], true, told, true, true);

        let (factory, dealt) = RangeDeal::factory(Arc::clone(&spec), &schema, sources)?;
        let told = Input { from: bounds, port: 1, exchange: Exchange::Broadcast, ordered: false };
        let deal = self.push(usize::MAX, named(DEAL), Work::Operator(factory), vec![rows, told], single, dealt, true, true);
        if let Some(physical) = self.out.plan.nodes.get_mut(deal) {
            physical.own = true;
        }

        let dealt = Input { from: deal, port: 0, exchange: Exchange::Range(RANGE.into()), ordered: false };
        let here = self.next() as u32;
        let factory = Work::Operator(RangeMerge::factory(spec, &schema, here)?);
        if !blocks_show(self.plan, number) {
            self.push(number, node.id.clone(), factory, vec![dealt], false, schema, true, true);
            return Ok(());
        }
        let ranges = self.push(usize::MAX, named(".ranges"), factory, vec![dealt], false, Arc::clone(&schema), true, true);
        let ranges = Input { from: ranges, port: 0, exchange: Exchange::Gather, ordered: true };
        let here = self.next() as u32;
        self.push(number, node.id.clone(), Work::Operator(InOrder::factory(&schema, here)), vec![ranges], true, schema, true, true);
        Ok(())
    }
}

/// The node that tells one way from the other.
const PARTIAL: &str = ".partial";
const DEAL: &str = ".deal";
