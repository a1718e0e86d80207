//! Lowering of the steps that become more than one operator, or choose among several: aggregates.

use std::sync::Arc;

use super::Code;
use super::lower::{Lower, missing, schema};
use crate::kernel::hash::KEY_GROUPS;
use crate::operator::{AggregateSpec, EventWindow, Exchange, FinalAggregate, Function, Input, PartialAggregate, UpdatingAggregate, Work};
use crate::plan::{Emit, Node, NodeId, Span};
use crate::{Error, Result};

impl Lower<'_> {
    pub(super) fn aggregate(
        &mut self,
        number: NodeId,
        node: &Node,
        window: Option<Span>,
        functions: &[crate::plan::AggregateColumn],
        emit: Emit,
    ) -> Result<()> {
        let Some(Code::Aggregate(factories)) = self.table.get(&node.id) else { return Err(missing(node)) };
        let input_node = self.plan.node(*node.inputs.first().ok_or_else(|| missing(node))?)?;
        let cut = match (window, &input_node.time) {
            (Some(span), Some(time)) => Some(EventWindow { column: time.column.clone(), span, offset: time.offset }),
            (Some(_), None) => return Err(Error::Plan(format!("`{}` is windowed, but its input has no event time", node.id))),
            (None, _) => None,
        };
        let functions = functions
            .iter()
            .zip(factories)
            .map(|(f, factory)| Function { name: f.name.clone(), inputs: f.inputs.clone(), factory: Arc::clone(factory) })
            .collect();
        let spec = Arc::new(AggregateSpec { name: node.id.clone(), keys: node.keys.clone(), window: cut, functions });
        let input = self.forward_input(node)?;
        if spec.window.is_some() {
            self.told(number, &input)?;
        }
        let (from_schema, single) = self.upstream(input.from);
        let bounded = self.bounded(&[input.from]);
        // a table for each key group, all of them at once
        let tables = if self.by_group(number) { KEY_GROUPS.into() } else { 1 };
        // a session on a stream is over as soon as time says so, and not when its last pane is
        let factory = match window {
            Some(Span::Session { .. }) if !bounded => PartialAggregate::prompt(Arc::clone(&spec), &from_schema)?,
            _ if emit.changes() => PartialAggregate::each_morsel(Arc::clone(&spec), &from_schema)?,
            _ => PartialAggregate::factory(Arc::clone(&spec), &from_schema, tables)?,
        };
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
        let factory = if emit.changes() {
            UpdatingAggregate::factory(Arc::clone(&spec), &from_schema, &columns, self.next() as u32)?
        } else {
            FinalAggregate::factory_as(Arc::clone(&spec), &from_schema, &columns, self.next() as u32)?
        };
        let input = Input { from: partial, port: 0, exchange, ordered: true };
        self.push(number, node.id.clone(), Work::Operator(factory), vec![input], global, columns, bounded, true);
        Ok(())
    }
}
