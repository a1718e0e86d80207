//! Lowering of the edges that the user places, `partition_by` and `rebalance`, and of what reads rows behind them.
//!
//! An edge deals rows out: those of a split, even of a morsel, are at several instances then. Row-wise steps, `flat_map` and batch operators
//! work on them there. Whatever tells the order of its rows, or goes by split, gets them in order again. Where rows end, that
//! is a gate's work, by the places that the edge gives them: the gate of the step's own exchange if it has one, or that of a step
//! put before it, to which splits come whole (or all rows, if all were at one instance before the edge). So what such a step sees is what it
//! would see without the edge.
//!
//! Rows that do not end cannot be waited for. There the steps that tell the order of rows are refused, but where an edge cannot
//! change it: if all rows of a key went one way, or if the step goes by event time, and then by the place of a row's morsel.

use std::collections::BTreeSet;

use super::lower::{Lower, lineages, missing};
use crate::operator::{Exchange, Input, Pass, Work};
use crate::plan::{Direction, Matching, Node, NodeId, Op};
use crate::{Error, Result};

/// What a step that puts rows into order is called behind.
const IN_ORDER: &str = ".in_order";

/// Aggregates that make the same of rows in any order, but for the last bits of floats and within the bounds of approximations.
const ANY_ORDER: &[&str] = &[
    "count",
    "sum",
    "min",
    "max",
    "mean",
    "var",
    "var_pop",
    "stddev",
    "stddev_pop",
    "any",
    "all",
    "count_distinct",
    "approx_count_distinct",
    "quantile",
    "median",
    "approx_quantile",
];

/// Whether a physical node of this name puts rows into order.
pub(super) fn restores(name: &str) -> bool {
    name.rsplit_once(IN_ORDER).is_some_and(|(_, port)| port.is_empty() || port.starts_with('.'))
}

impl Lower<'_> {
    /// Lowers an edge.
    pub(super) fn edge(&mut self, number: NodeId, node: &Node) -> Result<()> {
        let exchange = match &node.op {
            Op::PartitionBy { column } => Exchange::Custom(column.clone()),
            _ => Exchange::Turns,
        };
        let input = self.forward_input(node)?;
        let (schema, single) = self.upstream(input.from);
        // an edge behind another: order is that of before the first
        let single = self.dealt.get(&input.from).copied().unwrap_or(single);
        let bounded = self.bounded(&[input.from]);
        let rows = node.inputs.first().and_then(|i| self.plan.work(*i).ok()).and_then(|i| self.rows.get(&i)).copied();
        let input = Input { exchange, ..input };
        let at = self.push(number, node.id.clone(), Work::Operator(Pass::factory()), vec![input], false, schema, bounded, false);
        self.dealt.insert(at, single);
        rows.map(|rows| self.rows.insert(number, rows));
        Ok(())
    }

    /// An input whose rows are in order, for a step that has no gate of its own, or one that does not restore it.
    pub(super) fn in_order(&mut self, node: &Node, input: Input) -> Result<Input> {
        let restored = input.ordered && matches!(input.exchange, Exchange::Gather | Exchange::Hash(_));
        let Some(single) = self.dealt.get(&input.from).copied() else { return Ok(input) };
        if restored || !self.bounded(&[input.from]) {
            return Ok(input);
        }
        let port = if input.port == 0 { String::new() } else { format!(".{}", input.port) };
        let name = format!("{}{IN_ORDER}{port}", node.id);
        if let Some(there) = self.out.plan.nodes.iter().position(|n| n.name == name) {
            return Ok(Input { from: there, ..input });
        }
        let (schema, _) = self.upstream(input.from);
        let exchange = if single { Exchange::Gather } else { Exchange::Splits };
        let ordered = Input { from: input.from, port: 0, exchange, ordered: true };
        let from = self.push(usize::MAX, name, Work::Operator(Pass::factory()), vec![ordered], single, schema, true, false);
        Ok(Input { from, ..input })
    }

    /// Refuses a sample behind an edge if it would choose by the positions of rows: an edge leaves gaps out.
    pub(super) fn keeps_positions(&self, sample: &Node, at: NodeId) -> Result<()> {
        let node = self.plan.node(at)?;
        if node.op.is_edge() {
            return Err(Error::Usage(format!(
                "`{}` chooses rows by their positions in the source, which they do not keep behind `{}`: put `sample` before `{}`",
                sample.id,
                node.id,
                node.op.step()
            )));
        }
        match &node.op {
            Op::Run { .. } | Op::Batch { .. } | Op::Sample { .. } | Op::Limit { .. } | Op::Union => {}
            op if op.is_note() => {}
            _ => return Ok(()),
        }
        node.inputs.iter().try_for_each(|input| self.keeps_positions(sample, *input))
    }

    /// Refuses a step that would see rows which do not end in another order than without the edges before it.
    pub(super) fn told_apart(&self, node: &Node) -> Result<()> {
        let first = || node.inputs.first().copied();
        let keys_of = |input: Option<NodeId>| input.and_then(|i| self.plan.node(i).ok()).map_or(&[][..], |n| n.keys.as_slice());
        let (input, keys, what): (Option<NodeId>, &[String], String) = match &node.op {
            Op::Keyed { operator, .. } => (first(), keys_of(first()), format!("`{operator}` sees the rows of a key in their order")),
            Op::Aggregate { functions, .. } if !node.inputs.is_empty() => {
                let Some(f) = functions.iter().find(|f| !ANY_ORDER.contains(&f.function.as_str())) else { return Ok(()) };
                (first(), &node.keys, format!("what `{}` makes may depend on the order of rows", f.function))
            }
            Op::Limit { .. } => (first(), &[], "`limit` takes the first rows".to_owned()),
            Op::Sample { .. } => (first(), &[], "`sample` counts rows".to_owned()),
            Op::Distinct { columns: Some(columns) } if !node.changes => {
                (first(), columns.as_slice(), "it takes the first row of equal ones".to_owned())
            }
            Op::Join { matching: Matching::AsOf { direction, .. }, right, .. } => {
                let which = if *direction == Direction::Backward { "last" } else { "first" };
                (node.inputs.get(1).copied(), right.as_slice(), format!("it takes the {which} of right rows of one time"))
            }
            _ => return Ok(()),
        };
        let Some(input) = input else { return Ok(()) };
        let timed = matches!(node.op, Op::Keyed { .. }) && self.plan.node(input)?.time.is_some();
        let names: BTreeSet<(String, String)> = keys.iter().map(|k| (k.clone(), k.clone())).collect();
        let Some((edge, _)) = self.mixing(input, &names, timed)? else { return Ok(()) };
        let edge = self.plan.node(edge)?;
        let way = match (&edge.op, &node.op) {
            (Op::PartitionBy { column }, Op::Limit { .. } | Op::Sample { .. }) => format!("; put it before `partition_by({column})`"),
            (Op::PartitionBy { column }, _) if keys.is_empty() => {
                format!(
                    "; key the rows by `{column}`, so that rows of a key are at one instance, or put it before `partition_by({column})`"
                )
            }
            (Op::PartitionBy { column }, Op::Distinct { .. }) => {
                format!(
                    "; name `{column}` among its columns too, so that equal rows are at one instance, or put it before `partition_by({column})`"
                )
            }
            (Op::PartitionBy { column }, _) => {
                format!(
                    "; add `{column}` to the keys, as it is there, so that the rows of a key are at one instance, or put it before `partition_by({column})`"
                )
            }
            (_, Op::Keyed { .. }) => {
                "; give the rows an event time, `event_time(ts)`, by which it is put in order, or put it before `rebalance()`".to_owned()
            }
            (_, Op::Limit { .. } | Op::Sample { .. }) => "; put it before `rebalance()`".to_owned(),
            _ => "; put it before `rebalance()`, or deal rows out by key, `partition_by(column)`".to_owned(),
        };
        Err(Error::Usage(format!(
            "`{}` does not work behind `{}` over rows that do not end: {what}, and rows of one partition that went to several instances come back in any order{way}",
            node.id, edge.id
        )))
    }

    /// The nearest edge upstream that may change the order of rows of these keys; with the keys as they are called there. A key is its name
    /// now, and at the step.
    fn mixing(&self, at: NodeId, keys: &BTreeSet<(String, String)>, timed: bool) -> Result<Option<(NodeId, BTreeSet<(String, String)>)>> {
        let node = self.plan.node(at)?;
        let physical = self.plan.work(at).ok().and_then(|at| self.at.get(&at));
        if physical.is_some_and(|at| self.bounded(&[*at])) {
            return Ok(None);
        }
        let mut keys = keys.clone();
        match &node.op {
            Op::PartitionBy { column } if !keys.iter().any(|(name, _)| name == column) => return Ok(Some((at, keys))),
            Op::Rebalance if !timed => return Ok(Some((at, keys))),
            // they put rows into an order of their own
            Op::Source { .. } | Op::Aggregate { .. } | Op::Sort { .. } | Op::Top { .. } | Op::Over { .. } | Op::Set { .. } => {
                return Ok(None);
            }
            Op::Keyed { .. } if node.time.is_some() => return Ok(None),
            Op::Run { .. } => {
                let lineages = lineages(self.table);
                let lineage = lineages(&node.id).ok_or_else(|| missing(node))?;
                let of = |(name, own): (String, String)| lineage.values_of(&name).map(|c| (c.name.to_string(), own));
                keys = keys.into_iter().filter_map(of).collect();
            }
            Op::FlatMap { .. } => keys.clear(),
            Op::Batch { column, .. } | Op::Async { column, .. } | Op::Keyed { column, .. } | Op::Changelog { column } => {
                keys.retain(|(name, _)| name != column);
            }
            Op::Join { kind, .. } if kind.pairs() => {
                let left = |(name, own): (String, String)| name.strip_prefix("left.").map(|n| (n.to_owned(), own));
                keys = keys.into_iter().filter_map(left).collect();
            }
            _ => {}
        }
        for input in &node.inputs {
            if let Some(found) = self.mixing(*input, &keys, timed)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
