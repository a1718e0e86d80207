//! From the plan and its code to the graph that the runtime runs.
//!
//! Exchanges come from keys and are never left out where keys need them: an aggregate's final phase, a keyed step and
//! the sides of a hash join are hashed by their keys; a small build side is broadcast instead. A limit and
//! sinks gather, in source order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};

use crate::kernel::{LETTER, Level, Lineage, Predicate, Request};
use crate::operator::{
    Changelog, Conform, Exchange, Input, Limit, OperatorFactory, PhysicalNode, PhysicalPlan, RunOperator, SampleSpec, SortKey, SortSpec,
    SourceTime, Unnest, WEIGHT, Work, own_schema, schema_with, weight_field,
};
use crate::plan::{Node, NodeId, Op, Plan, Times, identity, times, told};
use crate::{Error, Result};

use super::graph::Site;
use super::lower_async::Came;
use super::{Code, Settings, Table};

/// The physical graph, and which of its nodes are the sinks of which names.
pub(super) struct Lowered {
    /// What the runtime runs.
    pub plan: PhysicalPlan,
    /// Sink nodes by name.
    pub sinks: BTreeMap<String, usize>,
    /// Columns of each sink.
    pub schemas: BTreeMap<String, SchemaRef>,
    /// Physical node that delivers a plan node's rows.
    pub at: BTreeMap<NodeId, usize>,
    /// Rows that a physical node delivers at most, if known.
    pub rows: BTreeMap<usize, u64>,
    /// Sinks that get changes, with the columns that tell rows apart.
    pub changes: BTreeMap<String, Vec<String>>,
    /// What a physical node keeps, and how long, where that is not told by its step.
    pub keeps: BTreeMap<usize, String>,
}

/// What is asked of a source beside its columns.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Rows that are certainly dropped may be left out.
    pub(super) filter: Option<&'a Predicate>,
    /// What is not a row is read too.
    pub(super) bad: bool,
}

/// Opens the source of a name for these columns.
pub(super) type OpenSource<'a> = dyn FnMut(&str, &str, &SchemaRef, Asked<'_>) -> Result<Arc<dyn crate::operator::Source>> + 'a;

/// How a job is to run.
#[derive(Clone, Debug, Default)]
pub(super) struct How {
    /// Whether each instance of a join keeps its share of the right side by itself.
    pub(super) apart: bool,
    /// Whether sorts are spread over processes.
    pub(super) spread: bool,
    /// Instances of each parallel step, if joins may choose by that.
    pub(super) instances: Option<usize>,
    /// The physical nodes of the job that it goes on with, if it does: what was in one way stays so.
    pub(super) before: Vec<String>,
}

pub(super) struct Lower<'a> {
    pub(super) plan: &'a Plan,
    pub(super) table: &'a Table,
    pub(super) settings: &'a Settings,
    pub(super) how: &'a How,
    pub(super) times: Times,
    pub(super) out: Lowered,
    /// Physical node that delivers a plan node's rows.
    pub(super) at: BTreeMap<NodeId, usize>,
    /// Rows that a plan node delivers at most, if known.
    pub(super) rows: BTreeMap<NodeId, u64>,
    /// Joins whose rows come by key group.
    pub(super) grouped: BTreeSet<NodeId>,
    /// Physical nodes whose rows were dealt out by an edge of the user's, and whether all were at one instance before it.
    pub(super) dealt: BTreeMap<usize, bool>,
}

/// Lowers an optimised plan.
///
/// # Errors
/// If code is missing for a node, or a source cannot be opened.
pub(super) fn lower(plan: &Plan, table: &Table, settings: &Settings, how: &How, open: &mut OpenSource<'_>) -> Result<Lowered> {
    let times = times(plan, &lineages(table))?;
    let out = Lowered {
        plan: PhysicalPlan::default(),
        sinks: BTreeMap::new(),
        schemas: BTreeMap::new(),
        at: BTreeMap::new(),
        rows: BTreeMap::new(),
        changes: BTreeMap::new(),
        keeps: BTreeMap::new(),
    };
    let mut l = Lower {
        plan,
        table,
        settings,
        how,
        times,
        out,
        at: BTreeMap::new(),
        rows: BTreeMap::new(),
        grouped: BTreeSet::new(),
        dealt: BTreeMap::new(),
    };
    for (number, node) in plan.nodes.iter().enumerate() {
        if !node.op.is_note() {
            l.node(number, node, open)?;
        }
    }
    for (number, at) in &l.at {
        let step = plan.node(*number)?;
        let time = step.time.as_ref().filter(|t| !step.changes && told(plan, &lineages(table), *number, &t.column, &l.times));
        if let Some(node) = l.out.plan.nodes.get_mut(*at) {
            node.event = time.cloned();
        }
    }
    l.out.rows = l.rows.iter().filter_map(|(n, rows)| Some((*l.at.get(n)?, *rows))).collect();
    l.out.at = l.at;
    Ok(l.out)
}

/// The lineage of the runs of a table, by stable id.
pub(super) fn lineages<'a>(table: &'a Table) -> impl Fn(&str) -> Option<&'a Lineage> + 'a {
    |id| match table.get(id) {
        Some(Code::Run(kernel) | Code::Condition(kernel)) => Some(kernel.lineage()),
        _ => None,
    }
}

/// The Arrow schema of a node's columns.
pub(super) fn schema(node: &Node) -> SchemaRef {
    let columns = node.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), c.nullable));
    Arc::new(Schema::new(columns.chain(node.changes.then(weight_field)).collect::<Vec<_>>()))
}

impl Lower<'_> {
    fn node(&mut self, number: NodeId, node: &Node, open: &mut OpenSource<'_>) -> Result<()> {
        self.told_apart(node)?;
        let columns = schema(node);
        let first = node.inputs.first().copied();
        let rows = first.and_then(|i| self.plan.work(i).ok()).and_then(|i| self.rows.get(&i).copied());
        match &node.op {
            Op::Source { name, record, must_end, filter } => {
                let source = open(name, record, &columns, Asked { filter: filter.as_ref(), bad: self.reads_bad(number) })?;
                if *must_end && !source.bounded() {
                    return Err(Error::Usage(format!(
                        "source `{name}` is declared to end (`Source<{record}, Bounded>`), but {} never ends; bind one that does, or declare `Source<{record}>`",
                        source.describe()
                    )));
                }
                let bounded = source.bounded();
                if bounded {
                    let total = match source.splits() {
                        Ok(splits) => splits.iter().map(|s| s.rows).sum::<Option<u64>>(),
                        // it is asked again when the job starts
                        Err(error) if error.is_transient() => None,
                        Err(error) => return Err(error),
                    };
                    if let Some(total) = total {
                        self.rows.insert(number, total);
                    }
                }
                let schema = source.schema();
                let said = self.plan.watermark(number)?;
                let time = self.times.sources.get(&number).filter(|_| !bounded).map(|column| SourceTime {
                    column: column.clone(),
                    disorder: source.disorder().or(said.0).unwrap_or(self.settings.disorder),
                    max_step: said.1,
                    lateness: self.times.lateness.get(&number).copied().unwrap_or(0),
                });
                let at = self.push(number, node.id.clone(), Work::Source(source), Vec::new(), false, schema, bounded, false);
                if let Some(physical) = self.out.plan.nodes.get_mut(at) {
                    physical.time = time;
                }
            }
            Op::Run { outputs, mask, errors, .. } => {
                let Some(Code::Run(kernel)) = self.table.get(&node.id) else { return Err(missing(node)) };
                let request = Request {
                    mask: *mask,
                    outputs: outputs.clone(),
                    level: Level::current(),
                    dense: false,
                    name: node.id.clone(),
                    source: self.source_of(number),
                    errors: *errors,
                    letters: self.letters(number),
                };
                let factory = RunOperator::factory(Arc::clone(kernel), request);
                self.forward(number, node, factory, columns, false)?;
                rows.map(|r| self.rows.insert(number, r));
            }
            Op::DeadLetter | Op::LateRows | Op::BadRows | Op::Side => {
                let conform = Conform::factory(&node.id, &columns);
                self.forward(number, node, conform, columns, false)?;
                if let Some(physical) = self.out.plan.nodes.last_mut() {
                    (physical.side, physical.bad) = (true, node.op == Op::BadRows);
                }
                rows.filter(|_| node.op == Op::DeadLetter).map(|r| self.rows.insert(number, r));
            }
            Op::Aggregate { window, functions, emit } => self.aggregate(number, node, *window, functions, *emit)?,
            Op::Changelog { column } => {
                let (from, _) = self.upstream(self.forward_input(node)?.from);
                let (factory, schema) = Changelog::factory(&node.id, &from, column);
                self.forward(number, node, factory, schema, false)?;
            }
            Op::Keyed { clock, .. } => {
                let keys = self.keys(node)?;
                let factory = self.typed(node, &keys)?;
                let input = self.input(node, 0, Exchange::Hash(keys), true)?;
                self.told(number, &input)?;
                let bounded = self.bounded(&[input.from]);
                let schema = self.added(node, &columns, &input);
                let at = self.push(number, node.id.clone(), Work::Operator(factory), vec![input], false, schema, bounded, true);
                if let Some(physical) = self.out.plan.nodes.get_mut(at) {
                    physical.later = *clock;
                }
            }
            Op::FlatMap { .. } => {
                let factory = self.typed(node, &[])?;
                self.forward(number, node, factory, columns, false)?;
            }
            Op::Batch { .. } => {
                let factory = self.typed(node, &[])?;
                let schema = self.added(node, &columns, &self.forward_input(node)?);
                self.forward(number, node, factory, schema, false)?;
            }
            Op::Async { options, .. } => self.waits(number, node, *options, &columns)?,
            Op::Join { .. } => self.join(number, node)?,
            Op::Sort { by } => {
                self.sort(number, node, sort_spec(node, by))?;
                rows.map(|r| self.rows.insert(number, r));
            }
            Op::Limit { rows: n } => {
                let input = self.input(node, 0, Exchange::Gather, true)?;
                let (from_schema, _) = self.upstream(input.from);
                let bounded = self.bounded(&[input.from]);
                self.push(number, node.id.clone(), Work::Operator(Limit::factory(*n)), vec![input], true, from_schema, bounded, true);
                self.rows.insert(number, *n);
            }
            Op::Top { rows: n, by, .. } if node.changes => self.net_top(number, node, *n, sort_spec(node, by), node.keys.clone())?,
            Op::Top { rows: n, by, .. } => self.top(number, node, *n, by)?,
            Op::Over { by, functions } => self.over(number, node, by, functions)?,
            Op::Unnest { column } => {
                let factory = Unnest::factory(&node.id, column, &node.keys, &columns);
                self.forward(number, node, factory, columns, false)?;
            }
            Op::Distinct { columns } => self.distinct(number, node, columns.as_deref())?,
            Op::Set { kind } => self.set(number, node, *kind)?,
            Op::Sample { fraction, seed } => self.sample(number, node, SampleSpec { fraction: *fraction, seed: *seed })?,
            Op::Union => self.union(number, node, columns)?,
            Op::PartitionBy { .. } | Op::Rebalance => self.edge(number, node)?,
            Op::Sink { name, .. } => {
                let input = self.forward_input(node)?;
                let single = self.upstream(input.from).1;
                let bounded = self.bounded(&[input.from]);
                let input_from = input.from;
                let conform = Conform::factory(&node.id, &columns);
                let conformed = self.push(
                    usize::MAX,
                    format!("{}.conform", node.id),
                    Work::Operator(conform),
                    vec![input],
                    single,
                    Arc::clone(&columns),
                    bounded,
                    false,
                );
                let dealt = self.dealt.get(&input_from).copied().filter(|_| bounded);
                dealt.map(|single| self.dealt.insert(conformed, single));
                // changes are told apart by what they are, and not by their order; those of one row come from one place
                let input = Input { from: conformed, port: 0, exchange: Exchange::Gather, ordered: !node.changes || dealt.is_some() };
                if node.changes {
                    self.out.changes.insert(name.clone(), identity(self.plan, &lineages(self.table), number));
                }
                let at = self.push(number, node.id.clone(), Work::Sink, vec![input], true, Arc::clone(&columns), bounded, false);
                if self.out.sinks.insert(name.clone(), at).is_some() {
                    return Err(Error::Usage(format!("two sinks are called `{name}`; give one of the streams another name")));
                }
                self.out.schemas.insert(name.clone(), columns);
            }
            Op::KeyBy | Op::EventTime | Op::Window(_) | Op::Emit { .. } | Op::Watermark { .. } => {}
        }
        Ok(())
    }

    /// Whether someone reads what the source cannot read.
    fn reads_bad(&self, source: NodeId) -> bool {
        let of = |node: &Node| node.inputs.first().and_then(|i| self.plan.work(*i).ok());
        self.plan.nodes.iter().any(|n| n.op == Op::BadRows && of(n) == Some(source))
    }
    /// The columns of the row that the dead letters of a run, or of calls, carry.
    fn letters(&self, run: NodeId) -> Vec<String> {
        let nodes = self.plan.nodes.iter().filter(|n| n.op == Op::DeadLetter && n.inputs.first() == Some(&run));
        let weight = self.plan.node(run).is_ok_and(|n| n.changes).then(|| WEIGHT.to_owned());
        let names = nodes.flat_map(|n| &n.columns).map(|c| &c.name).filter(|c| !LETTER.iter().any(|(own, _)| own == c));
        names.cloned().chain(weight).collect()
    }

    /// The columns of the input and the one that the step makes.
    pub(super) fn added(&self, node: &Node, columns: &SchemaRef, input: &Input) -> SchemaRef {
        let (from, _) = self.upstream(input.from);
        if let (Op::Keyed { own: true, column, .. }, Exchange::Hash(keys)) = (&node.op, &input.exchange) {
            let keys = keys.iter().filter_map(|k| from.field_with_name(k).ok().cloned());
            return match columns.field_with_name(column) {
                Ok(value) => own_schema(keys, value.clone(), node.time.is_some()),
                Err(_) => from,
            };
        }
        let (Op::Keyed { column, .. } | Op::Batch { column, .. } | Op::Async { column, .. }) = &node.op else { return from };
        match columns.field_with_name(column) {
            Ok(field) => schema_with(&from, field.clone()),
            Err(_) => from,
        }
    }

    /// Refuses a step whose time no source can tell, where it would wait for ever.
    pub(super) fn told(&self, number: NodeId, input: &Input) -> Result<()> {
        match self.times.computed.get(&number) {
            Some(column) if !self.bounded(&[input.from]) => {
                let id = self.plan.node(number).map_or("", |n| n.id.as_str());
                Err(Error::Usage(format!(
                    "`{id}` takes its time from `{column}`, which is computed on the way, so that no source can tell when a window is over; over an endless source the event time must be a column of the source itself, passed on or copied as it is"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The factory of a typed operator, made for its place.
    pub(super) fn typed(&self, node: &Node, keys: &[String]) -> Result<Arc<dyn OperatorFactory>> {
        let Some(Code::Operator(make)) = self.table.get(&node.id) else { return Err(missing(node)) };
        let up = self.plan.node(node.inputs.first().copied().ok_or_else(|| missing(node))?)?;
        let from = self.forward_input(node)?.from;
        let (input, _) = self.upstream(from);
        let at = self.plan.nodes.iter().position(|n| n.id == node.id).unwrap_or_default();
        let (source, letters) = (self.source_of(at), self.letters(at));
        make.make(&Site {
            name: &node.id,
            keys,
            time: up.time.as_ref(),
            input: &input,
            node: self.next() as u32,
            source: &source,
            letters: &letters,
            dealt: matches!(self.came(from), Came::Dealt(_)),
            bounded: self.bounded(&[from]),
        })
    }

    fn forward(
        &mut self,
        number: NodeId,
        node: &Node,
        factory: Arc<dyn OperatorFactory>,
        columns: SchemaRef,
        stateful: bool,
    ) -> Result<()> {
        let input = self.forward_input(node)?;
        let single = self.upstream(input.from).1;
        let bounded = self.bounded(&[input.from]);
        let dealt = self.dealt.get(&input.from).copied();
        let at = self.push(number, node.id.clone(), Work::Operator(factory), vec![input], single, columns, bounded, stateful);
        dealt.map(|single| self.dealt.insert(at, single));
        Ok(())
    }

    /// The rows where they are, in whatever order: for steps that look at one row after the other.
    pub(super) fn forward_input(&self, node: &Node) -> Result<Input> {
        self.any_input(node, 0, Exchange::Forward, false)
    }

    pub(super) fn input(&mut self, node: &Node, port: usize, exchange: Exchange, ordered: bool) -> Result<Input> {
        let input = self.any_input(node, port, exchange, ordered)?;
        self.in_order(node, input)
    }

    fn any_input(&self, node: &Node, port: usize, exchange: Exchange, ordered: bool) -> Result<Input> {
        let up = node.inputs.get(port).copied().ok_or_else(|| missing(node))?;
        let from = self.at.get(&self.plan.work(up)?).copied().ok_or_else(|| missing(node))?;
        Ok(Input { from, port, exchange, ordered })
    }

    /// Whether the rows of a node come by key group out of a join.
    pub(super) fn by_group(&self, number: NodeId) -> bool {
        let inputs = self.plan.node(number).map(|n| n.inputs.as_slice()).unwrap_or_default();
        self.grouped.contains(&number) || (inputs.len() == 1 && inputs.iter().all(|i| self.by_group(*i)))
    }

    /// The keys that a step's input has.
    pub(super) fn keys(&self, node: &Node) -> Result<Vec<String>> {
        let up = node.inputs.first().copied().ok_or_else(|| missing(node))?;
        Ok(self.plan.node(up)?.keys.clone())
    }

    pub(super) fn upstream(&self, at: usize) -> (SchemaRef, bool) {
        self.out.plan.nodes.get(at).map_or_else(|| (Arc::new(Schema::empty()), true), |n| (Arc::clone(&n.schema), n.single))
    }
    pub(super) fn bounded(&self, from: &[usize]) -> bool {
        from.iter().all(|i| self.out.plan.nodes.get(*i).is_some_and(|n| n.bounded))
    }
    pub(super) fn next(&self) -> usize {
        self.out.plan.nodes.len()
    }

    /// The source at the far end of a chain of runs, for messages.
    fn source_of(&self, mut number: NodeId) -> String {
        while let Ok(node) = self.plan.node(number) {
            match (&node.op, node.inputs.first()) {
                (Op::Source { name, .. }, _) => return name.clone(),
                (_, Some(up)) => number = *up,
                (_, None) => break,
            }
        }
        String::new()
    }

    /// Says whether a step sends its rows by key group.
    pub(super) fn in_groups(&mut self, at: usize, yes: bool) {
        if let Some(physical) = self.out.plan.nodes.get_mut(at) {
            physical.in_groups = yes;
        }
    }
    #[allow(clippy::too_many_arguments)]
    pub(super) fn push(
        &mut self,
        number: NodeId,
        name: String,
        work: Work,
        inputs: Vec<Input>,
        single: bool,
        schema: SchemaRef,
        bounded: bool,
        stateful: bool,
    ) -> usize {
        self.out.plan.nodes.push(PhysicalNode {
            name,
            work,
            inputs,
            single,
            schema,
            bounded,
            stateful,
            own: false,
            in_groups: false,
            later: false,
            in_flight: None,
            side: false,
            bad: false,
            event: None,
            time: None,
        });
        let at = self.out.plan.nodes.len() - 1;
        if number != usize::MAX {
            self.at.insert(number, at);
        }
        at
    }
}

/// The order of a step.
pub(super) fn sort_spec(node: &Node, by: &[crate::plan::SortBy]) -> SortSpec {
    let key = |b: &crate::plan::SortBy| SortKey { column: b.column.clone(), ascending: !b.descending, nulls_first: b.nulls_first };
    SortSpec { name: node.id.clone(), by: by.iter().map(key).collect() }
}

pub(super) fn missing(node: &Node) -> Error {
    Error::Plan(format!("this program has no code for step `{}`", node.id))
}
