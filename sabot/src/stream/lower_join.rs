//! Lowering of joins: which side goes where.
//!
//! The build side is built once, by an operator of its own ([`BuildSide`]), and shared by all threads: the probe side stays
//! where it is, in its order. A build side that is known to be small is built by one instance, another by all, each
//! of which has the rows of its key groups. Of an inner join whose left side is known to be much smaller, that is built instead.
//!
//! Not so a build side of which rows without a partner come out: each of its rows must be at one instance, which alone can
//! tell. Not so under a memory budget, where each instance must be able to spill its share of both sides, and not where
//! checkpoints may be taken, of which a build side that has ended would have no part. Then a build side that is known to be small goes to
//! every instance, and over several processes so does one that is cheaper to copy than both sides are to deal out; else both sides are hashed by their keys, or gathered where there is no key. Then rows come out by key group if a step
//! behind would make other values of another order.

use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::Code;
use super::lower::{Lower, missing};
use crate::Result;
use crate::operator::{BuildSide, Condition, Exchange, Grace, Input, Join, JoinSpec, Pass, Shared, WEIGHT, Work};
use crate::plan::{EventColumn, JoinKind, Matching, Node, NodeId, Op, order_matters};
use crate::{Error, plan::Plan};

/// The left side of a join is built instead of the right one if it has this many times fewer rows: indexing a row costs about as much
/// as looking one up and copying its partner.
const SMALLER: u64 = 2;

/// Over several processes a right side goes to every instance if both sides have this many times the rows of all its copies. A copied row
/// is sent and indexed, one that is dealt out is sent and brought into the order of key groups.
const CHEAPER: u64 = 2;

/// Ends the name of the step behind which each instance gets all right rows because that is cheaper. A job goes on as it began: the states of
/// one way mean nothing to another.
const COPIES: &str = ".copies";

impl Lower<'_> {
    pub(super) fn join(&mut self, number: NodeId, node: &Node) -> Result<()> {
        if self.updating_join(number, node)? || self.endless_join(number, node)? {
            return Ok(());
        }
        let Op::Join { kind, matching, left, right, on, .. } = &node.op else { return Err(missing(node)) };
        let (mut l, mut r) = (self.input(node, 0, Exchange::Forward, false)?, self.input(node, 1, Exchange::Forward, false)?);
        let (mut left_schema, mut left_single) = self.upstream(l.from);
        let (mut right_schema, mut right_single) = self.upstream(r.from);
        let mut spec = self.join_spec(node, &left_schema, &right_schema)?;
        let condition = self.condition(node)?;
        if !self.bounded(&[l.from]) && self.times.needed.get(&number).is_some_and(|[_, right]| *right) {
            return Err(Error::Usage(format!(
                "`{}` reads its right side to its end before left rows come, so the time of a right row is behind that of left rows that are still to come: give the joined row the time of its left row",
                node.id
            )));
        }
        let rows = |port: usize| node.inputs.get(port).and_then(|i| self.plan.work(*i).ok()).and_then(|i| self.rows.get(&i)).copied();
        let (left_rows, right_rows) = (rows(0), rows(1));
        let copies = !kind.keeps_right() && self.copies(node, left_rows.zip(right_rows), &right_schema);
        let small = copies || right_rows.is_some_and(|rows| rows <= self.settings.broadcast_rows) && !kind.keeps_right();
        let shared = !kind.keeps_right() && !self.how.apart;
        // the order of rows is promised only where the right side is small
        let either = *kind == JoinKind::Inner && *matching == Matching::Equal && on.is_none() && shared && !small && !node.changes;
        if either && left_rows.zip(right_rows).is_some_and(|(left, right)| left.saturating_mul(SMALLER) <= right) {
            std::mem::swap(&mut l, &mut r);
            (l.port, r.port) = (0, 1);
            std::mem::swap(&mut left_schema, &mut right_schema);
            std::mem::swap(&mut left_single, &mut right_single);
            spec = spec.mirror();
        }
        if copies {
            let name = format!("{}{COPIES}", node.id);
            let ends = self.bounded(&[r.from]);
            let input = Input { port: 0, ..r.clone() };
            let pass = Work::Operator(Pass::factory());
            r.from = self.push(usize::MAX, name, pass, vec![input], right_single, Arc::clone(&right_schema), ends, false);
        }
        let (probe, build, single) = if small || shared {
            (Exchange::Forward, Exchange::Broadcast, left_single)
        } else if left.is_empty() {
            (Exchange::Gather, Exchange::Gather, true)
        } else {
            (Exchange::Hash(left.clone()), Exchange::Hash(right.clone()), false)
        };
        if let (false, Some(rows)) = (kind.pairs(), left_rows) {
            self.rows.insert(number, rows);
        }
        let bounded = self.bounded(&[l.from, r.from]);
        // pieces of a morsel that were dealt out come back in the order of instances, which some steps would tell
        spec.by_group = bounded && matches!(probe, Exchange::Hash(_)) && order_matters(self.plan, number);
        let by_group = spec.by_group;
        if by_group {
            self.grouped.insert(number);
        }
        let spec = Arc::new(spec);
        // gathered rows have no order of their own
        let ordered = probe == Exchange::Gather || by_group;
        let mut right_side = Input { exchange: build, ordered: true, ..r.clone() };
        let output = spec.output_schema(&left_schema, &right_schema)?;
        let place = shared.then(Arc::<Shared>::default);
        if let Some(place) = &place {
            let factory = BuildSide::factory(Arc::clone(&spec), condition.as_ref(), &left_schema, &right_schema, place)?;
            let one = small || left.is_empty();
            let exchange = if one { Exchange::Gather } else { Exchange::Hash(right.clone()) };
            let input = Input { port: 0, exchange, ordered: true, ..r.clone() };
            let ends = self.bounded(&[r.from]);
            let name = format!("{}.build", node.id);
            let from = self.push(usize::MAX, name, Work::Operator(factory), vec![input], one, Arc::clone(&right_schema), ends, false);
            // no row comes this way, but the end of all parts
            right_side = Input { from, port: 1, exchange: Exchange::Broadcast, ordered: true };
        }
        let stateful = place.is_none();
        let hashed = stateful && matches!(right_side.exchange, Exchange::Hash(_));
        let inputs = vec![Input { exchange: probe, ordered, ..l.clone() }, right_side];
        let mut factory = Join::factory(spec, condition, &left_schema, &right_schema, place)?;
        // what spills comes out at the end, which an endless side does not have
        if bounded && hashed {
            factory = Grace::factory(&node.id, factory, (&left_schema, left), (&right_schema, right), by_group)?;
        }
        let at = self.push(number, node.id.clone(), Work::Operator(factory), inputs, single, output, bounded, stateful);
        self.in_groups(at, by_group);
        Ok(())
    }
    /// Whether the right side goes to every instance because that is cheaper than to deal out both, of so many rows.
    fn copies(&self, node: &Node, rows: Option<(u64, u64)>, right: &SchemaRef) -> bool {
        if !self.how.before.is_empty() {
            return self.how.before.iter().any(|name| name.strip_prefix(node.id.as_str()) == Some(COPIES));
        }
        let (Some(instances), Some((left, right_rows))) = (self.how.instances, rows) else { return false };
        let copied = right_rows.saturating_mul(instances as u64);
        right_rows > self.settings.broadcast_rows
            && right_rows.saturating_mul(row_bytes(right)) <= self.settings.broadcast_bytes
            && copied.saturating_mul(CHEAPER) <= left.saturating_add(right_rows)
    }
    /// A join as its operator knows it, with sides of these columns.
    pub(super) fn join_spec(&self, node: &Node, left_schema: &SchemaRef, right_schema: &SchemaRef) -> Result<JoinSpec> {
        let Op::Join { kind, matching, left, right, left_used, right_used, .. } = &node.op else { return Err(missing(node)) };
        let all = |s: &SchemaRef| s.fields().iter().map(|f| f.name().clone()).filter(|name| name != WEIGHT).collect::<Vec<_>>();
        Ok(JoinSpec {
            name: node.id.clone(),
            kind: *kind,
            matching: *matching,
            left_on: left.clone(),
            right_on: right.clone(),
            left: left_used.clone().unwrap_or_else(|| all(left_schema)),
            right: right_used.clone().unwrap_or_else(|| if kind.pairs() { all(right_schema) } else { Vec::new() }),
            times: if *matching == Matching::Equal { None } else { Some((time(self.plan, node, 0)?, time(self.plan, node, 1)?)) },
            node: self.next() as u32,
            by_group: false,
            mirrored: false,
        })
    }
    /// A join's condition on pairs.
    pub(super) fn condition(&self, node: &Node) -> Result<Option<Condition>> {
        match (&node.op, self.table.get(&node.id)) {
            (Op::Join { on: None, .. }, _) => Ok(None),
            (Op::Join { .. }, Some(Code::Condition(kernel))) => Ok(Some(Condition::new(Arc::clone(kernel), &node.id))),
            _ => Err(missing(node)),
        }
    }
}

/// About how many bytes a row takes: those of numbers, and what is usual for text.
fn row_bytes(schema: &SchemaRef) -> u64 {
    const OTHERS: usize = 32;
    schema.fields().iter().map(|f| f.data_type().primitive_width().unwrap_or(OTHERS) as u64).sum()
}

/// The event time of a side.
fn time(plan: &Plan, node: &Node, port: usize) -> Result<EventColumn> {
    let input = node.inputs.get(port).ok_or_else(|| missing(node))?;
    let time = plan.node(*input)?.time.clone();
    time.ok_or_else(|| Error::Plan(format!("`{}` joins in event time, but input {port} has none", node.id)))
}
