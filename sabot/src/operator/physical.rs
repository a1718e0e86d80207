//! What the runtime runs: operators, and how rows travel between them.
//!
//! Made from the optimised plan. Everything here is dynamic (batches and trait objects): the pipeline's types ended
//! with the kernels.

use std::sync::Arc;

use arrow_schema::SchemaRef;

use super::{Operator, Sink, Source};
use crate::Result;
use crate::plan::EventColumn;

/// How the rows of an edge are distributed over the instances of the consumer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Exchange {
    /// Instance i feeds instance i; producer and consumer become one task.
    Forward,
    /// By the key group of these columns ([`crate::kernel::hash`]). Never left out where keys need it.
    Hash(Vec<String>),
    /// Everything to the one instance.
    Gather,
    /// Everything to every instance.
    Broadcast,
    /// Evenly.
    Rebalance,
    /// The rows of a split to one instance, whoever brings them.
    Splits,
    /// By the key group that stands in this column of bytes: for rows whose producer knows where they belong.
    Range(String),
    /// By the number in this integer column, modulo the number of instances. Rows that end carry their places.
    Custom(String),
    /// Evenly, as `Rebalance`, but rows that end carry their places, so that gates behind restore their order.
    Turns,
}

/// One input of a node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Input {
    /// Index of the producing node in [`PhysicalPlan::nodes`].
    pub from: usize,
    /// Input port of the consumer. Several producers may share a port (a union).
    pub port: usize,
    /// The distribution.
    pub exchange: Exchange,
    /// Whether the consumer must see rows in source order (`Origin` order over a bounded input, per partition over an
    /// endless one), whatever the thread count.
    pub ordered: bool,
}

/// One of the parallel instances of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Number of this instance, from zero.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

/// Makes the instances of an operator. The typed half of a plan node.
pub trait OperatorFactory: Send + Sync {
    /// A new instance.
    ///
    /// # Errors
    /// If the node cannot be built in this process.
    fn create(&self, instance: Instance) -> Result<Box<dyn Operator>>;
}

impl<F: Fn(Instance) -> Result<Box<dyn Operator>> + Send + Sync> OperatorFactory for F {
    fn create(&self, instance: Instance) -> Result<Box<dyn Operator>> {
        self(instance)
    }
}

/// What a node does.
#[derive(Clone)]
pub enum Work {
    /// Delivers rows.
    Source(Arc<dyn Source>),
    /// Turns rows into rows.
    Operator(Arc<dyn OperatorFactory>),
    /// Stores rows. Always a single instance with an ordered, gathered input; the sink is taken from
    /// the job by this node's index.
    Sink,
}

/// A node: one operator, run by one or many instances.
#[derive(Clone)]
pub struct PhysicalNode {
    /// Stable id of the step, e.g. `daily_drag/daily/aggregate`; a two-phase step adds `.partial`.
    pub name: String,
    /// Source, operator or sink.
    pub work: Work,
    /// Inputs; none for a source.
    pub inputs: Vec<Input>,
    /// Run by a single instance (a final sort, a limit, a sink), not by one per thread.
    pub single: bool,
    /// Columns of the output.
    pub schema: SchemaRef,
    /// Whether it reads the second output of its one input, the rows that failed there, or of a source those that were late,
    /// instead of the first. It is then in the same task.
    pub side: bool,
    /// Whether the second output is what the source, its input, could not read.
    pub bad: bool,
    /// Whether the output ends.
    pub bounded: bool,
    /// Whether the operator keeps state that a checkpoint must hold.
    pub stateful: bool,
    /// Whether each instance keeps rows of its own, although an input of it is sent to all: its state moves by key group then, and is not
    /// the same in all instances.
    pub own: bool,
    /// Whether the operator sends rows by key group: then those of its hash edges come to it so as far as one morsel goes, since that costs
    /// nothing where they are dealt out.
    pub in_groups: bool,
    /// Whether the operator answers rows later, or reads the clock ([`Operator::pending`]): then it is the first of its stage.
    pub later: bool,
    /// For an operator whose state is rows on their way through it: the exchange by which they came to their instances, with its columns
    /// as they are called here; `Forward` if that is where they were read, or cannot be told. A job that continues with another number of
    /// instances puts rows in flight where those that follow them come.
    pub in_flight: Option<Exchange>,
    /// Where the event time of its rows is, if a source tells it; for checks.
    pub event: Option<EventColumn>,
    /// For an endless source on whose event time some step depends: how it tells time.
    pub time: Option<SourceTime>,
}

impl PhysicalNode {
    /// Whether all instances keep the same: what an input sent to all of them.
    pub(crate) fn copied(&self) -> bool {
        !self.own && self.inputs.iter().any(|i| i.exchange == Exchange::Broadcast)
    }
}

/// How the rows of an endless source tell time. Each partition has a watermark of its own: the greatest event time so
/// far less the disorder, unless the source's reader gives watermarks itself. A row behind the watermark of its own
/// partition is late: it is dropped and counted. So which rows are late depends on the partition's rows alone, not on
/// other partitions, batches or time.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceTime {
    /// The column: a timestamp without nulls.
    pub column: String,
    /// How far a row may lag behind the greatest event time before it, in microseconds.
    pub disorder: i64,
    /// How far one row moves the watermark at most, in microseconds; the first row of a partition sets it.
    pub max_step: Option<i64>,
    /// How far behind the watermark a row still counts, in microseconds.
    pub lateness: i64,
}

impl std::fmt::Debug for PhysicalNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PhysicalNode")
            .field("name", &self.name)
            .field("inputs", &self.inputs)
            .field("single", &self.single)
            .finish_non_exhaustive()
    }
}

/// A dataflow graph that is ready to run. Nodes are in topological order.
#[derive(Clone, Debug, Default)]
pub struct PhysicalPlan {
    /// The nodes; producers come before consumers.
    pub nodes: Vec<PhysicalNode>,
}

/// A sink bound to the node that feeds it.
pub struct BoundSink {
    /// Index of the [`Work::Sink`] node.
    pub node: usize,
    /// The sink.
    pub sink: Box<dyn Sink>,
}
