//! Lowering of the steps that wait: at every instance, where their rows are.
//!
//! Calls of one step are limited, and each instance makes some of them. A limit of one call is no limit that can be shared: such a step works at one instance.

use arrow_schema::SchemaRef;

use super::lower::{Lower, lineages};
use crate::Result;
use crate::operator::{AsyncOptions, Exchange, Work};
use crate::plan::{Node, NodeId, Op};

/// How rows came to the instances of a physical node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// All are at one.
    One,
    /// Each is where it was read, or its split was sent.
    Split,
    /// Pieces of a morsel may be at several, by this node's exchange.
    Dealt(usize),
}

impl Lower<'_> {
    pub(super) fn waits(&mut self, number: NodeId, node: &Node, options: AsyncOptions, columns: &SchemaRef) -> Result<()> {
        let factory = self.typed(node, &[])?;
        let alone = options.max_in_flight <= 1;
        let input = if alone { self.input(node, 0, Exchange::Gather, options.ordered)? } else { self.forward_input(node)? };
        let single = alone || self.upstream(input.from).1;
        let bounded = self.bounded(&[input.from]);
        let schema = self.added(node, columns, &input);
        let dealt = self.dealt.get(&input.from).copied().filter(|_| !alone);
        let came = self.exchange_of(node, input.from)?;
        let at = self.push(number, node.id.clone(), Work::Operator(factory), vec![input], single, schema, bounded, true);
        dealt.map(|single| self.dealt.insert(at, single));
        if let Some(physical) = self.out.plan.nodes.get_mut(at) {
            (physical.later, physical.in_flight) = (true, Some(came));
        }
        Ok(())
    }

    /// How the rows of a physical node came to where they are.
    pub(super) fn came(&self, mut at: usize) -> Came {
        while let Some(node) = self.out.plan.nodes.get(at).filter(|n| !n.single) {
            match node.inputs.as_slice() {
                [] => return Came::Split,
                [only] => match only.exchange {
                    Exchange::Forward => at = only.from,
                    Exchange::Splits => return Came::Split,
                    Exchange::Gather => return Came::One,
                    _ => return Came::Dealt(at),
                },
                _ => return Came::Dealt(at),
            }
        }
        Came::One
    }

    /// The exchange that brought the rows of `from`, the input of `node`, to their instances, by columns that they still have.
    fn exchange_of(&self, node: &Node, from: usize) -> Result<Exchange> {
        let (Came::Dealt(dealt), Some(up)) = (self.came(from), node.inputs.first()) else { return Ok(Exchange::Forward) };
        let Some([input]) = self.out.plan.nodes.get(dealt).map(|n| n.inputs.as_slice()) else { return Ok(Exchange::Forward) };
        let schema = self.upstream(from).0;
        let names = schema.fields().iter().map(|f| (f.name().clone(), f.name().clone())).collect();
        let there = self.traced(self.plan.work(*up)?, dealt, names)?;
        // the column that a name was then is now
        let now = |name: &String| there.iter().find(|(then, _)| then == name).map(|(_, now)| now.clone());
        Ok(match &input.exchange {
            Exchange::Hash(keys) => keys.iter().map(now).collect::<Option<_>>().map_or(Exchange::Forward, Exchange::Hash),
            Exchange::Custom(column) => now(column).map_or(Exchange::Forward, Exchange::Custom),
            _ => Exchange::Forward,
        })
    }

    /// Which columns of the physical node `goal` the columns of a step upstream of which it is are copies of: (name there, own name).
    fn traced(&self, at: NodeId, goal: usize, mut names: Vec<(String, String)>) -> Result<Vec<(String, String)>> {
        let node = self.plan.node(at)?;
        match &node.op {
            Op::Run { .. } => {
                let lineages = lineages(self.table);
                let of = |(name, own): (String, String)| Some((lineages(&node.id)?.values_of(&name)?.name.to_string(), own));
                names = names.into_iter().filter_map(of).collect();
            }
            Op::Batch { column, .. } | Op::Async { column, .. } | Op::Keyed { column, .. } | Op::Changelog { column } => {
                names.retain(|(name, _)| name != column);
            }
            Op::Aggregate { .. } | Op::Distinct { .. } | Op::PartitionBy { .. } | Op::Sample { .. } => {}
            op if op.is_note() => {}
            // others make rows of their own
            _ => return Ok(Vec::new()),
        }
        if self.at.get(&self.plan.work(at)?) == Some(&goal) {
            return Ok(names);
        }
        match node.inputs.as_slice() {
            [only] => self.traced(self.plan.work(*only)?, goal, names),
            _ => Ok(Vec::new()),
        }
    }
}
