//! Lowering of the steps that become more than one operator, or choose among several: aggregates and joins.

use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::Code;
use super::lower::{Lower, missing, schema};
use crate::operator::{AggregateSpec, EventWindow, Exchange, FinalAggregate, Function, HashJoin, Input, JoinSpec, PartialAggregate, Work};
use crate::plan::{Node, NodeId, Op, Span};
use crate::{Error, Result};

impl Lower<'_> {
    pub(super) fn aggregate(
        &mut self,
        number: NodeId,
        node: &Node,
        window: Option<Span>,
        functions: &[crate::plan::AggregateColumn],
    ) -> Result<()> {
        let Some(Code::Aggregate(factories)) = self.table.get(&node.id) else { return Err(missing(node)) };
        let input_node = self.plan.node(*node.inputs.first().ok_or_else(|| missing(node))?)?;
        let window = match (window, &input_node.time) {
            (Some(Span { size, slide }), Some(time)) => Some(EventWindow { column: time.column.clone(), size, slide, offset: time.offset }),
            (Some(_), None) => return Err(Error::Plan(format!("`{}` is windowed, but its input has no event time", node.id))),
            (None, _) => None,
        };
        let functions = functions
            .iter()
            .zip(factories)
            .map(|(f, factory)| Function { name: f.name.clone(), inputs: f.inputs.clone(), factory: Arc::clone(factory) })
            .collect();
        let spec = Arc::new(AggregateSpec { name: node.id.clone(), keys: node.keys.clone(), window, functions });
        let input = self.forward_input(node)?;
        if spec.window.is_some() {
            self.told(number, &input)?;
        }
        let (from_schema, single) = self.upstream(input.from);
        let bounded = self.bounded(&[input.from]);
        let factory = PartialAggregate::factory(Arc::clone(&spec), &from_schema)?;
        let partial = self.push(
            usize::MAX,
            format!("{}.partial", node.id),
            Work::Operator(factory),
            vec![input],
            single,
            spec.partial_schema(&from_schema)?,
            bounded,
            true,
        );
        let global = node.keys.is_empty();
        let exchange = if global { Exchange::Gather } else { Exchange::Hash(node.keys.clone()) };
        let columns = schema(node);
        let factory = FinalAggregate::factory_as(Arc::clone(&spec), &from_schema, &columns, self.next() as u32)?;
        let input = Input { from: partial, port: 0, exchange, ordered: true };
        self.push(number, node.id.clone(), Work::Operator(factory), vec![input], global, columns, bounded, true);
        Ok(())
    }

    pub(super) fn join(&mut self, number: NodeId, node: &Node) -> Result<()> {
        let Op::Join { kind, left, right, left_used, right_used } = &node.op else { return Err(missing(node)) };
        let (l, r) = (self.input(node, 0, Exchange::Forward, false)?, self.input(node, 1, Exchange::Forward, false)?);
        let (left_schema, left_single) = self.upstream(l.from);
        let (right_schema, _) = self.upstream(r.from);
        let all = |s: &SchemaRef| s.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        let spec = Arc::new(JoinSpec {
            name: node.id.clone(),
            kind: *kind,
            left_on: left.clone(),
            right_on: right.clone(),
            left: left_used.clone().unwrap_or_else(|| all(&left_schema)),
            right: right_used.clone().unwrap_or_else(|| all(&right_schema)),
        });
        let small = node
            .inputs
            .get(1)
            .and_then(|i| self.plan.work(*i).ok())
            .and_then(|i| self.rows.get(&i))
            .is_some_and(|rows| *rows <= self.settings.broadcast_rows);
        let (probe, build) =
            if small { (Exchange::Forward, Exchange::Broadcast) } else { (Exchange::Hash(left.clone()), Exchange::Hash(right.clone())) };
        let inputs = vec![Input { exchange: probe, ..l.clone() }, Input { exchange: build, ordered: true, ..r.clone() }];
        let bounded = self.bounded(&[l.from, r.from]);
        let output = spec.output_schema(&left_schema, &right_schema)?;
        let factory = HashJoin::factory(spec, &left_schema, &right_schema)?;
        self.push(number, node.id.clone(), Work::Operator(factory), inputs, small && left_single, output, bounded, true);
        Ok(())
    }
}
