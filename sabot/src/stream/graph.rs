//! The graph that a builder fills: the plan, and beside it the code that its nodes name.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::SchemaRef;

use crate::kernel::{Constant, RunKernel};
use crate::operator::{AccumulatorFactory, OperatorFactory};
use crate::plan::{EventColumn, Node, NodeId, Op, Plan, PlanColumn};
use crate::record::{Column, Record, columns_of};

use super::{Bound, FixedSource, Given, PipelineEntry, SourceBinding, Stream, Unkeyed};

/// The code of a node.
#[derive(Clone)]
pub enum Code {
    /// A fused run.
    Run(Arc<dyn RunKernel>),
    /// The condition of a join: a predicate over pairs.
    Condition(Arc<dyn RunKernel>),
    /// The functions of an aggregate, in order.
    Aggregate(Vec<Arc<dyn AccumulatorFactory>>),
    /// The functions of an `over`, in order.
    Over(Vec<Arc<dyn crate::operator::WindowFunction>>),
    /// Any other typed operator.
    Operator(Arc<dyn MakeOperator>),
}

/// Where a typed operator finds itself in the physical plan.
pub struct Site<'a> {
    /// Stable id of the step.
    pub name: &'a str,
    /// Columns that its input is keyed by.
    pub keys: &'a [String],
    /// Event time of its input.
    pub time: Option<&'a EventColumn>,
    /// Columns of its input.
    pub input: &'a SchemaRef,
    /// Number of the physical node.
    pub node: u32,
    /// Name of the source at the far end, for messages.
    pub source: &'a str,
    /// Columns of the input that its dead letters carry.
    pub letters: &'a [String],
    /// Whether the rows of a morsel of its input may be at several instances.
    pub dealt: bool,
    /// Whether its input ends.
    pub bounded: bool,
}
/// Makes the factory of a typed operator once its place is known.
pub trait MakeOperator: Send + Sync {
    /// The factory.
    ///
    /// # Errors
    /// If the operator does not fit its input.
    fn make(&self, site: &Site<'_>) -> crate::Result<Arc<dyn OperatorFactory>>;
}
impl<F: Fn(&Site<'_>) -> crate::Result<Arc<dyn OperatorFactory>> + Send + Sync> MakeOperator for F {
    fn make(&self, site: &Site<'_>) -> crate::Result<Arc<dyn OperatorFactory>> {
        self(site)
    }
}

/// The code of a pipeline by stable id. Rebuilt in any process from (pipeline, parameters).
pub type Table = BTreeMap<String, Code>;

/// A sink that the pipeline itself fixed.
pub type FixedSinks = BTreeMap<String, super::SinkBinding>;

#[derive(Default)]
struct Inner {
    plan: Plan,
    table: Table,
    sources: BTreeMap<String, SourceBinding>,
    sinks: FixedSinks,
    stream: String,
    /// The pipelines that are being inlined, outermost first.
    scopes: Vec<Scope>,
    /// What names within them begin with: `cleaned/clean/`.
    prefix: String,
    ids: BTreeMap<String, usize>,
    /// Columns that the next closure reads, if the macro could tell.
    reads: Option<Vec<String>>,
    problems: Vec<String>,
    /// Parameters of primitive types that filters may name.
    constants: BTreeMap<&'static str, Constant>,
}

/// A pipeline that is being inlined.
struct Scope {
    pipeline: (&'static str, &'static str, u32),
    /// What its sources are bound to.
    given: BTreeMap<&'static str, Given>,
    /// The stream at its open end.
    out: Option<NodeId>,
    /// Prefix, stream and parameters of the place where it is used.
    back: (String, String, BTreeMap<&'static str, Constant>),
}

/// Collects the nodes of a pipeline. Streams are handles into it.
///
/// Example: [`stream`](crate::stream).
pub struct Graph(RefCell<Inner>);

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Graph({})", self.0.borrow().plan.pipeline)
    }
}

/// A finished graph.
#[derive(Clone)]
pub struct Built {
    /// The plan.
    pub plan: Plan,
    /// The code.
    pub table: Table,
    /// Sources that the pipeline fixed.
    pub sources: BTreeMap<String, SourceBinding>,
    /// Sinks that the pipeline fixed.
    pub sinks: FixedSinks,
    /// What is wrong with it, where types could not tell.
    pub problems: Vec<String>,
}

impl Graph {
    /// An empty graph of a pipeline.
    pub fn new(pipeline: &str) -> Self {
        let plan = Plan { pipeline: pipeline.to_owned(), nodes: Vec::new() };
        Graph(RefCell::new(Inner { plan, stream: "main".into(), ..Inner::default() }))
    }
    /// The following steps belong to this stream: it names them in plans, ids and metrics.
    pub fn stream(&self, name: &str) {
        name.clone_into(&mut self.0.borrow_mut().stream);
    }
    /// A source to be bound by the caller: a parameter of the pipeline.
    pub fn parameter<R: Record, B: Bound>(&self, name: &str) -> Stream<'_, R, Unkeyed, B, R::Time> {
        let given = self.0.borrow_mut().scopes.last_mut().and_then(|s| s.given.remove(name));
        match given {
            Some(Given::Stream(node)) => self.without_key(node),
            Some(Given::Source(binding)) => {
                let scoped = self.scoped(name);
                self.0.borrow_mut().sources.insert(scoped, binding);
                self.add_source::<R, B>(name)
            }
            None => self.add_source::<R, B>(name),
        }
    }
    /// A stream as a source gives it, whatever it was keyed by where it comes from.
    fn without_key<R: Record, B: Bound>(&self, node: NodeId) -> Stream<'_, R, Unkeyed, B, R::Time> {
        let stream: Stream<'_, R, Unkeyed, B, R::Time> = Stream::new(self, node);
        if stream.keys().is_empty() {
            return stream;
        }
        let (columns, time) = (stream.columns(), stream.time());
        stream.push(Op::KeyBy, columns, Vec::new(), time)
    }
    /// A source that the pipeline fixes.
    pub fn source<S: FixedSource>(&self, name: &str, source: S) -> Stream<'_, S::Row, Unkeyed, S::Bound, <S::Row as Record>::Time> {
        let scoped = self.scoped(name);
        self.0.borrow_mut().sources.insert(scoped, source.fixed().binding);
        self.add_source::<S::Row, S::Bound>(name)
    }
    fn add_source<R: Record, B: Bound>(&self, name: &str) -> Stream<'_, R, Unkeyed, B, R::Time> {
        let columns = columns_of::<R>();
        let time = columns.iter().find(|c| c.event_time).map(|c| EventColumn { column: c.name.to_string(), offset: 0 });
        let op = Op::Source { name: self.scoped(name), record: R::NAME.to_owned(), must_end: B::ENDS, filter: None };
        self.stream(name);
        let node = self.add(op, Vec::new(), plan_columns(&columns), Vec::new(), B::ENDS, time);
        Stream::new(self, node)
    }
    /// Notes the value of a parameter of a primitive type; used by generated code.
    #[doc(hidden)]
    pub fn constant(&self, name: &'static str, value: impl Into<Constant>) {
        self.0.borrow_mut().constants.insert(name, value.into());
    }
    /// The value of a parameter that a filter names.
    pub(super) fn constant_of(&self, name: &str) -> Option<Constant> {
        self.0.borrow().constants.get(name).cloned()
    }
    /// Adds a node and returns its number.
    pub(super) fn add(
        &self,
        op: Op,
        inputs: Vec<NodeId>,
        columns: Vec<PlanColumn>,
        keys: Vec<String>,
        bounded: bool,
        time: Option<EventColumn>,
    ) -> NodeId {
        let mut inner = self.0.borrow_mut();
        let base = format!("{}/{}{}/{}", inner.plan.pipeline, inner.prefix, inner.stream, op.step());
        let id = inner.unique(base);
        // the types of an inlined pipeline say what its sources may be; what they are may end all the same
        let ends = |i: &NodeId| inner.plan.nodes.get(*i).is_some_and(|n| n.bounded);
        let bounded = bounded || (!inputs.is_empty() && inputs.iter().all(ends));
        let changes = op.changes(inputs.iter().any(|i| inner.plan.nodes.get(*i).is_some_and(|n| n.changes)));
        inner.plan.nodes.push(Node { id, op, inputs, columns, keys, bounded, time, changes });
        inner.plan.nodes.len() - 1
    }
    /// Sets the code of a node.
    pub(super) fn code(&self, node: NodeId, code: Code) {
        let mut inner = self.0.borrow_mut();
        if let Some(id) = inner.plan.nodes.get(node).map(|n| n.id.clone()) {
            inner.table.insert(id, code);
        }
    }
    /// Registers a sink that the pipeline fixes.
    pub(super) fn fix_sink(&self, name: &str, sink: super::SinkBinding) {
        self.0.borrow_mut().sinks.insert(name.to_owned(), sink);
    }
    /// Notes the columns that the closure of the next step reads.
    pub(super) fn reading(&self, columns: Option<Vec<String>>) {
        self.0.borrow_mut().reads = columns;
    }
    /// The columns that the closure of the present step reads.
    pub(super) fn take_reads(&self) -> Option<Vec<String>> {
        self.0.borrow_mut().reads.take()
    }
    /// Notes a mistake that the types did not catch; the job refuses to start.
    pub(super) fn problem(&self, sentence: String) {
        self.0.borrow_mut().problems.push(sentence);
    }
    /// The stable id of a node, for messages.
    pub(super) fn id(&self, node: NodeId) -> String {
        self.node(node).map(|n| n.id).unwrap_or_default()
    }
    /// Whether a node is a source, but for notes.
    pub(super) fn over_source(&self, node: NodeId) -> bool {
        let inner = self.0.borrow();
        let work = inner.plan.work(node).ok().and_then(|n| inner.plan.nodes.get(n));
        work.is_some_and(|n| matches!(n.op, crate::plan::Op::Source { .. }))
    }
    /// The name of the current stream.
    pub(super) fn current(&self) -> String {
        self.0.borrow().stream.clone()
    }
    /// A name of this pipeline as the whole graph knows it.
    pub(super) fn scoped(&self, name: &str) -> String {
        format!("{}{name}", self.0.borrow().prefix)
    }
    /// Starts inlining a pipeline; false, and a problem is noted, if it is being inlined already.
    pub(super) fn enter(&self, entry: &PipelineEntry, given: Vec<(&'static str, Given)>) -> bool {
        let mut inner = self.0.borrow_mut();
        let pipeline = (entry.name, entry.file, entry.line);
        if let Some(first) = inner.scopes.iter().position(|s| s.pipeline == pipeline) {
            let path: Vec<&str> = inner.scopes.iter().skip(first).map(|s| s.pipeline.0).chain([entry.name]).collect();
            let sentence = format!("pipeline `{}` uses itself: {}; a pipeline is a graph without cycles", entry.name, path.join(" -> "));
            inner.problems.push(sentence);
            return false;
        }
        let place = format!("{}{}/{}", inner.prefix, inner.stream, entry.name);
        let prefix = inner.unique(place) + "/";
        let (stream, constants) = (inner.stream.clone(), std::mem::take(&mut inner.constants));
        let back = (std::mem::replace(&mut inner.prefix, prefix), stream, constants);
        inner.scopes.push(Scope { pipeline, given: given.into_iter().collect(), out: None, back });
        true
    }
    /// Ends inlining; the stream at the pipeline's open end.
    pub(super) fn leave(&self) -> Option<NodeId> {
        let mut inner = self.0.borrow_mut();
        let scope = inner.scopes.pop()?;
        (inner.prefix, inner.stream, inner.constants) = scope.back;
        scope.out
    }
    /// Takes a stream as the rows that the present pipeline returns; false if it is not being inlined.
    pub(super) fn returned(&self, node: NodeId) -> bool {
        match self.0.borrow_mut().scopes.last_mut() {
            Some(scope) => {
                scope.out = Some(node);
                true
            }
            None => false,
        }
    }
    /// A copy of a node.
    pub(super) fn node(&self, node: NodeId) -> Option<Node> {
        self.0.borrow().plan.nodes.get(node).cloned()
    }
    /// What was built.
    pub fn finish(self) -> Built {
        let inner = self.0.into_inner();
        Built { plan: inner.plan, table: inner.table, sources: inner.sources, sinks: inner.sinks, problems: inner.problems }
    }
}

impl Inner {
    /// A name, numbered if it is taken.
    fn unique(&mut self, base: String) -> String {
        let count = self.ids.entry(base.clone()).or_insert(0);
        *count += 1;
        if *count == 1 { base } else { format!("{base}#{count}") }
    }
}

/// Record columns as plan columns.
pub(super) fn plan_columns(columns: &[Column]) -> Vec<PlanColumn> {
    columns.iter().map(|c| PlanColumn { name: c.name.to_string(), data_type: c.data_type.clone(), nullable: c.nullable }).collect()
}
