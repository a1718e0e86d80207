//! Lowering of the steps over sets of rows, and over rows in an order.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};

use super::Code;
use super::lower::{Lower, missing, sort_spec};
use crate::Result;
use crate::operator::{
    Conform, Distinct, DistinctSpec, Exchange, Input, NetTop, Over, OverFunction, OverSpec, PartialDistinct, PartialTop, Sample,
    SampleSpec, SetOperator, SetSpec, SortSpec, Top, TopSpec, Work,
};
use crate::plan::{AggregateColumn, Node, NodeId, Op, PlanColumn, SetKind, SortBy, order_shows};

impl Lower<'_> {
    /// The first phase in the stage of the input, where that ends; the rows hashed by the columns.
    fn hashed(&mut self, node: &Node, port: usize, columns: &[String]) -> Result<Input> {
        let input = self.input(node, port, Exchange::Forward, false)?;
        let bounded = self.bounded(&[input.from]);
        let exchange = Exchange::Hash(columns.to_vec());
        if !bounded {
            return Ok(Input { exchange, ordered: true, ..input });
        }
        let (schema, single) = self.upstream(input.from);
        let spec = Arc::new(DistinctSpec { name: node.id.clone(), columns: columns.to_vec() });
        let factory = PartialDistinct::factory(spec, &schema)?;
        let name = if port == 0 { format!("{}.partial", node.id) } else { format!("{}.partial.{port}", node.id) };
        let from = self.push(usize::MAX, name, Work::Operator(factory), vec![Input { port: 0, ..input }], single, schema, bounded, false);
        Ok(Input { from, port, exchange, ordered: true })
    }

    pub(super) fn distinct(&mut self, number: NodeId, node: &Node, columns: Option<&[String]>) -> Result<()> {
        let columns = columns.map_or_else(|| node.columns.iter().map(|c| c.name.clone()).collect(), <[String]>::to_vec);
        if node.changes {
            // which row of a key is first: by event time, if there is one, and then by all columns
            let time = node.time.iter().map(|t| SortBy { column: t.column.clone(), descending: false, nulls_first: false });
            return self.net_top(number, node, 1, sort_spec(node, &time.collect::<Vec<_>>()), columns);
        }
        let input = self.hashed(node, 0, &columns)?;
        let (schema, _) = self.upstream(input.from);
        let bounded = self.bounded(&[input.from]);
        let spec = Arc::new(DistinctSpec { name: node.id.clone(), columns });
        let factory = Distinct::factory(spec, &schema, bounded, self.next() as u32)?;
        let at = self.push(number, node.id.clone(), Work::Operator(factory), vec![input], false, schema, bounded, true);
        self.in_groups(at, bounded);
        Ok(())
    }

    pub(super) fn set(&mut self, number: NodeId, node: &Node, kind: SetKind) -> Result<()> {
        let columns: Vec<String> = node.columns.iter().map(|c| c.name.clone()).collect();
        let (left, right) = (self.hashed(node, 0, &columns)?, self.hashed(node, 1, &columns)?);
        let (schema, _) = self.upstream(left.from);
        let spec = Arc::new(SetSpec { name: node.id.clone(), kind, columns });
        let factory = SetOperator::factory(spec, &schema, self.next() as u32)?;
        let right = Input { ordered: false, ..right };
        let at = self.push(number, node.id.clone(), Work::Operator(factory), vec![left, right], false, schema, true, true);
        self.in_groups(at, true);
        Ok(())
    }

    pub(super) fn top(&mut self, number: NodeId, node: &Node, rows: u64, by: &[SortBy]) -> Result<()> {
        let input = self.input(node, 0, Exchange::Forward, false)?;
        let (schema, single) = self.upstream(input.from);
        let spec = Arc::new(TopSpec { rows, keys: node.keys.clone(), order: sort_spec(node, by) });
        let factory = PartialTop::factory(Arc::clone(&spec), &schema)?;
        let (name, columns) = (format!("{}.partial", node.id), Arc::clone(&schema));
        let from = self.push(usize::MAX, name, Work::Operator(factory), vec![input], single, columns, true, true);
        let (exchange, global) = by_keys(&node.keys);
        let factory = Top::factory(spec, &schema, self.next() as u32)?;
        let input = Input { from, port: 0, exchange, ordered: true };
        self.push(number, node.id.clone(), Work::Operator(factory), vec![input], global, schema, true, true);
        if global {
            self.rows.insert(number, rows);
        }
        Ok(())
    }

    /// The first rows of each key of a stream whose rows are taken back, or that are sent as they change.
    pub(super) fn net_top(&mut self, number: NodeId, node: &Node, rows: u64, order: SortSpec, keys: Vec<String>) -> Result<()> {
        let (exchange, global) = by_keys(&keys);
        let input = self.input(node, 0, exchange, false)?;
        let (schema, _) = self.upstream(input.from);
        let bounded = self.bounded(&[input.from]);
        let (factory, schema) = NetTop::factory(Arc::new(TopSpec { rows, keys, order }), &schema, self.next() as u32)?;
        self.push(number, node.id.clone(), Work::Operator(factory), vec![input], global, schema, bounded, true);
        Ok(())
    }

    pub(super) fn over(&mut self, number: NodeId, node: &Node, by: &[SortBy], functions: &[AggregateColumn]) -> Result<()> {
        let Some(Code::Over(code)) = self.table.get(&node.id) else { return Err(missing(node)) };
        let wanted = functions.iter().zip(code).filter(|(f, _)| node.columns.iter().any(|c| c.name == f.name));
        let functions: Vec<OverFunction> =
            wanted.map(|(f, code)| OverFunction { name: f.name.clone(), inputs: f.inputs.clone(), function: Arc::clone(code) }).collect();
        let (exchange, global) = by_keys(&self.keys(node)?);
        let keys = self.keys(node)?;
        let input = self.input(node, 0, exchange, true)?;
        let (schema, _) = self.upstream(input.from);
        let field = |c: &PlanColumn| match functions.iter().find(|f| f.name == c.name) {
            Some(f) => {
                let (data_type, nullable) = f.function.output();
                Ok(Field::new(&c.name, data_type, nullable))
            }
            None => schema.field_with_name(&c.name).cloned(),
        };
        let output = Arc::new(Schema::new(node.columns.iter().map(field).collect::<Result<Vec<_>, _>>()?));
        let spec = Arc::new(OverSpec { keys, order: sort_spec(node, by), functions });
        let factory = Over::factory(spec, &schema, &output, self.next() as u32)?;
        self.push(number, node.id.clone(), Work::Operator(factory), vec![input], global, output, true, true);
        Ok(())
    }

    pub(super) fn sample(&mut self, number: NodeId, node: &Node, spec: SampleSpec) -> Result<()> {
        let up = *node.inputs.first().ok_or_else(|| missing(node))?;
        let counted = !self.placed(up);
        if !counted {
            self.keeps_positions(node, up)?;
        }
        let exchange = if counted { Exchange::Gather } else { Exchange::Forward };
        let input = self.input(node, 0, exchange, counted)?;
        let (schema, single) = self.upstream(input.from);
        let bounded = self.bounded(&[input.from]);
        let factory = Sample::factory(spec, counted);
        self.push(number, node.id.clone(), Work::Operator(factory), vec![input], single || counted, schema, bounded, counted);
        Ok(())
    }

    /// All rows of all inputs. Where a step behind it tells their order, that must not depend on timing: if each input reads a source
    /// of its own, a split goes to one instance, where its rows come in order; else a single instance puts all rows in order.
    pub(super) fn union(&mut self, number: NodeId, node: &Node, columns: SchemaRef) -> Result<()> {
        let inputs = (0..node.inputs.len()).map(|i| self.input(node, i, Exchange::Rebalance, false)).collect::<Result<Vec<_>>>()?;
        let bounded = self.bounded(&inputs.iter().map(|i| i.from).collect::<Vec<_>>());
        let sources: Option<Vec<NodeId>> = node.inputs.iter().map(|i| self.read_from(*i)).collect();
        let apart = sources.is_some_and(|s| s.iter().collect::<BTreeSet<_>>().len() == s.len());
        let (exchange, gathered) = match bounded && order_shows(self.plan, number) {
            false => (Exchange::Rebalance, false),
            true if apart => (Exchange::Splits, false),
            true => (Exchange::Gather, true),
        };
        let input = |i: Input| Input { port: 0, exchange: exchange.clone(), ordered: gathered, ..i };
        let inputs = inputs.into_iter().map(input).collect();
        let factory = Conform::factory(&node.id, &columns);
        self.push(number, node.id.clone(), Work::Operator(factory), inputs, gathered, columns, bounded, false);
        Ok(())
    }

    /// The source whose splits a node's rows are in, in their order, if there is but row-wise work in between.
    fn read_from(&self, number: NodeId) -> Option<NodeId> {
        let node = self.plan.node(number).ok()?;
        match &node.op {
            Op::Source { .. } => Some(number),
            Op::Run { .. } | Op::Batch { .. } | Op::FlatMap { .. } => self.read_from(*node.inputs.first()?),
            Op::KeyBy | Op::EventTime | Op::Window(_) | Op::Watermark { .. } => self.read_from(*node.inputs.first()?),
            // in order again before the step that asks
            Op::PartitionBy { .. } | Op::Rebalance => self.read_from(*node.inputs.first()?),
            _ => None,
        }
    }

    /// Whether each row that a node delivers has a position of its own (its morsel's origin, and its number in the morsel)
    /// that neither threads nor morsels change.
    fn placed(&self, number: NodeId) -> bool {
        let Ok(node) = self.plan.node(number) else { return false };
        let inputs = || node.inputs.iter().all(|i| self.placed(*i));
        match &node.op {
            Op::Source { .. } | Op::Aggregate { .. } | Op::Sort { .. } | Op::Set { .. } | Op::Top { .. } | Op::Over { .. } => true,
            Op::Distinct { .. } => self.at.get(&number).is_some_and(|at| self.bounded(&[*at])),
            Op::Run { .. } | Op::Batch { .. } | Op::Sample { .. } | Op::Limit { .. } | Op::Union => inputs(),
            Op::PartitionBy { .. } | Op::Rebalance => inputs(),
            Op::KeyBy | Op::EventTime | Op::Window(_) | Op::Emit { .. } | Op::Watermark { .. } => inputs(),
            _ => false,
        }
    }
}

/// Hashed by the keys, or, without, all to one instance; and whether that is so.
fn by_keys(keys: &[String]) -> (Exchange, bool) {
    if keys.is_empty() { (Exchange::Gather, true) } else { (Exchange::Hash(keys.to_vec()), false) }
}
