//! Lowering of the steps that become more than one operator, or choose among several: aggregates.

use std::sync::Arc;

use arrow_schema::Schema;

use super::Code;
use super::lower::{Lower, missing, schema};
use crate::kernel::hash::KEY_GROUPS;
use crate::operator::aggregate::{OverChanges, bag};
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
        let input = self.input(node, 0, Exchange::Forward, false)?;
        let (from_schema, single) = self.upstream(input.from);
        let mut functions: Vec<Function> = functions
            .iter()
            .zip(factories)
            .map(|(f, factory)| Function { name: f.name.clone(), inputs: f.inputs.clone(), factory: Arc::clone(factory) })
            .collect();
        if input_node.changes {
            functions = functions.into_iter().map(|f| over_changes(node, f, &from_schema)).collect::<Result<_>>()?;
        }
        let spec = Arc::new(AggregateSpec { name: node.id.clone(), keys: node.keys.clone(), window: cut, functions });
        if spec.window.is_some() {
            self.told(number, &input)?;
        }
        let bounded = self.bounded(&[input.from]);
        if input_node.changes {
            return self.net_aggregate(number, node, &spec, input, emit);
        }
        // a table for each key group, all of them at once
        let tables = if self.by_group(number) { KEY_GROUPS.into() } else { 1 };
        // a session on a stream is over as soon as time says so, and not when its last pane is
        let factory = match window {
            Some(Span::Session { .. }) if !bounded => PartialAggregate::prompt(Arc::clone(&spec), &from_schema)?,
            _ if emit.changes() => PartialAggregate::each_morsel(Arc::clone(&spec), &from_schema)?,
            Some(Span::Aligned { .. }) if !bounded && tables == 1 => PartialAggregate::passing(Arc::clone(&spec), &from_schema)?,
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
            UpdatingAggregate::factory(Arc::clone(&spec), &from_schema, &columns, emit, self.next() as u32)?
        } else {
            FinalAggregate::factory_as(Arc::clone(&spec), &from_schema, &columns, self.next() as u32)?
        };
        let input = Input { from: partial, port: 0, exchange, ordered: true };
        self.push(number, node.id.clone(), Work::Operator(factory), vec![input], global, columns, bounded, true);
        Ok(())
    }

    /// Over rows that are taken back: they go by key as they are, since a part of them has no result of its own.
    fn net_aggregate(&mut self, number: NodeId, node: &Node, spec: &Arc<AggregateSpec>, input: Input, emit: Emit) -> Result<()> {
        let (from_schema, _) = self.upstream(input.from);
        let bounded = self.bounded(&[input.from]);
        let global = node.keys.is_empty();
        let exchange = if global { Exchange::Gather } else { Exchange::Hash(node.keys.clone()) };
        let columns = schema(node);
        let factory = UpdatingAggregate::factory(Arc::clone(spec), &from_schema, &columns, emit, self.next() as u32)?;
        let input = Input { exchange, ordered: false, ..input };
        self.push(number, node.id.clone(), Work::Operator(factory), vec![input], global, columns, bounded, true);
        Ok(())
    }
}

/// A function as it is computed where rows are taken back.
fn over_changes(node: &Node, function: Function, input: &Schema) -> Result<Function> {
    let factory = match function.factory.over_changes() {
        OverChanges::Own(own) => own,
        OverChanges::Kept(kind) => {
            let types = function.inputs.iter().map(|i| Ok(input.field_with_name(i)?.data_type().clone())).collect::<Result<Vec<_>>>()?;
            bag(Arc::clone(&function.factory), kind, &types)?
        }
        OverChanges::Never => {
            return Err(Error::Usage(format!(
                "`{}`: aggregate `{}` cannot be used where rows are taken back: it has no `retract`",
                node.id,
                function.factory.describe()
            )));
        }
    };
    Ok(Function { factory, ..function })
}
