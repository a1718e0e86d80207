//! The logical plan: what a pipeline does, as data.
//!
//! Nodes name their code (kernels, aggregates, closures) by stable id; the code itself is in the table that the same
//! pipeline function rebuilds in any process of the same binary. So a plan can be stored, drawn, optimised and shipped.

use arrow_schema::DataType;
use serde::{Deserialize, Serialize};

use super::{Emit, JoinKind, Matching};
use crate::kernel::{ErrorPolicy, Form, Predicate, StepInfo};
use crate::operator::{AsyncOptions, Ttl};

/// A pipeline's graph. Nodes are in topological order: inputs come before their consumers.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: String,
    /// The nodes; a [`NodeId`] is an index.
    pub nodes: Vec<Node>,
}

/// Index of a node in [`Plan::nodes`].
///
/// Example: [`plan`](crate::plan).
pub type NodeId = usize;

/// One step, run, source or sink.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Stable id: `pipeline/stream/step[#n]`.
    pub id: String,
    /// What it does.
    pub op: Op,
    /// Where its rows come from, in port order.
    pub inputs: Vec<NodeId>,
    /// The columns it leaves.
    pub columns: Vec<PlanColumn>,
    /// The columns that the rows are keyed by, if they are.
    pub keys: Vec<String>,
    /// Whether the rows end.
    pub bounded: bool,
    /// The column that holds the event time, if there is one.
    pub time: Option<EventColumn>,
    /// Whether rows are taken back: each has a weight beside its columns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changes: bool,
}

/// A column of a node.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanColumn {
    /// Name.
    pub name: String,
    /// Arrow type.
    pub data_type: DataType,
    /// Whether it may hold nulls.
    pub nullable: bool,
}

/// Where the event time is.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventColumn {
    /// A timestamp column.
    pub column: String,
    /// Added to its value, in microseconds: a window's result carries its end - 1.
    pub offset: i64,
}

/// Which rows of two streams stay.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetKind {
    /// Distinct rows of the left that are on the right.
    Intersect,
    /// Distinct rows of the left that are not on the right.
    Except,
}

/// A column to sort by.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortBy {
    /// The column.
    pub column: String,
    /// Largest first.
    pub descending: bool,
    /// Nulls before all values, else after them.
    pub nulls_first: bool,
}

/// Windows of event time, in microseconds.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Span {
    /// Windows of one size, aligned to the epoch: tumbling ones follow one another, hopping ones overlap.
    Aligned {
        /// Length of a window.
        size: i64,
        /// From the start of a window to the start of the next: its length for tumbling windows.
        slide: i64,
    },
    /// Of each key, rows of which none is this long or longer after the one before it.
    Session {
        /// How long.
        gap: i64,
    },
}

/// One aggregate function of an aggregate step.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregateColumn {
    /// The column it makes.
    pub name: String,
    /// The function's name.
    pub function: String,
    /// The columns it reads.
    pub inputs: Vec<String>,
}

/// What a node does.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Reads the source of this name.
    Source {
        /// The parameter or stream name.
        name: String,
        /// The record that it must fit.
        record: String,
        /// Whether only sources that end may be bound.
        must_end: bool,
        /// Rows for which this is certainly not true are dropped by every reader: the source may leave them out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<Predicate>,
    },
    /// A fused run of row-wise steps.
    Run {
        /// Its steps.
        steps: Vec<StepInfo>,
        /// How it goes over rows.
        form: Form,
        /// Output columns to deliver; `None` is all.
        outputs: Option<Vec<String>>,
        /// Predicates and outputs to compute.
        mask: u64,
        /// What becomes of rows on which a function returns an error.
        errors: ErrorPolicy,
    },
    /// The rows that failed in the run that is its input, as they entered it, with reason and place.
    DeadLetter,
    /// Names the keys: no code of its own.
    KeyBy,
    /// Names the event-time column: no code of its own.
    EventTime,
    /// Cuts event time: no code of its own, part of the aggregate that follows.
    Window(Span),
    /// When the results of the aggregate that follows are sent: no code of its own.
    Emit {
        /// When.
        emit: Emit,
        /// Whether results are of all rows of a key, and not of windows.
        global: bool,
    },
    /// Changes as rows that stay.
    Changelog {
        /// The column of their weights.
        column: String,
    },
    /// How a source tells time: no code of its own, part of the source before it. In microseconds.
    Watermark {
        /// How far a row may lag behind rows before it, unless what is bound to the source says so itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disorder: Option<i64>,
        /// How far one row moves time at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_step: Option<i64>,
    },
    /// The rows of the source that is its input that were late there.
    LateRows,
    /// What the source that is its input could not read: lines and messages that are no rows.
    BadRows,
    /// Groups by the keys (and the window) and aggregates.
    Aggregate {
        /// The window, if there is one.
        window: Option<Span>,
        /// The functions.
        functions: Vec<AggregateColumn>,
        /// When results are sent.
        #[serde(default, skip_serializing_if = "Emit::is_default")]
        emit: Emit,
    },
    /// A function with state per key.
    Keyed {
        /// The operator's name.
        operator: String,
        /// The column it makes.
        column: String,
        /// Columns that the function reads; `None` is all.
        reads: Option<Vec<String>>,
        /// Whether it makes rows of its own, of keys, value and time, and does not add a column to the row.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        own: bool,
        /// Whether it reads the clock: for timers, or to let state expire.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        clock: bool,
        /// How long state lives that nothing touches.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl: Option<Ttl>,
    },
    /// The second output of the keyed step that is its input.
    Side,
    /// Any number of rows per row.
    FlatMap {
        /// The expression.
        text: String,
        /// Columns that it reads; `None` is all.
        reads: Option<Vec<String>>,
    },
    /// A whole-batch operator.
    Batch {
        /// The operator's name.
        operator: String,
        /// The column it makes.
        column: String,
        /// Columns that it reads.
        reads: Vec<String>,
    },
    /// A function that waits, called for many rows at once.
    Async {
        /// The operator's name.
        operator: String,
        /// The column it makes.
        column: String,
        /// Columns that its arguments read; `None` is all.
        reads: Option<Vec<String>>,
        /// How it is called.
        options: AsyncOptions,
        /// What becomes of rows on which it returns an error or times out.
        errors: ErrorPolicy,
    },
    /// A join by keys, by event time, or both.
    Join {
        /// Which rows come out.
        kind: JoinKind,
        /// Which rows of equal keys are partners.
        matching: Matching,
        /// Key columns of the left side; none if all rows have the same key.
        left: Vec<String>,
        /// Key columns of the right side.
        right: Vec<String>,
        /// A further condition on a pair, with its code beside the plan.
        on: Option<StepInfo>,
        /// When rows come out.
        #[serde(default, skip_serializing_if = "Emit::is_default")]
        emit: Emit,
        /// Columns of each side that are used after the join; `None` is all.
        left_used: Option<Vec<String>>,
        /// As `left_used`.
        right_used: Option<Vec<String>>,
    },
    /// Sorts all rows.
    Sort {
        /// The order.
        by: Vec<SortBy>,
    },
    /// The first rows in source order.
    Limit {
        /// How many.
        rows: u64,
    },
    /// The first rows in an order, of all or of each key.
    Top {
        /// How many.
        rows: u64,
        /// The order.
        by: Vec<SortBy>,
        /// When they are sent.
        #[serde(default, skip_serializing_if = "Emit::is_default")]
        emit: Emit,
    },
    /// Functions over the rows of each key in an order.
    Over {
        /// The order; empty if functions see whole partitions.
        by: Vec<SortBy>,
        /// The functions.
        functions: Vec<AggregateColumn>,
    },
    /// The rows in a column of structs; a null is no row.
    Unnest {
        /// The column.
        column: String,
    },
    /// The first row of each distinct key.
    Distinct {
        /// The columns; `None` is all.
        columns: Option<Vec<String>>,
    },
    /// Distinct rows of the left that are, or are not, on the right.
    Set {
        /// Which.
        kind: SetKind,
    },
    /// A random part of the rows.
    Sample {
        /// Probability of a row to stay.
        fraction: f64,
        /// Chooses among samples.
        seed: u64,
    },
    /// All rows of all inputs.
    Union,
    /// Rows go to the instance that a column of integers names.
    PartitionBy {
        /// The column.
        column: String,
    },
    /// Rows go to all instances, evenly.
    Rebalance,
    /// Stores rows in the sink of this name.
    Sink {
        /// The stream's name, or the sink's.
        name: String,
        /// Whether the pipeline fixed the sink; else the caller binds it.
        fixed: bool,
    },
}

impl Op {
    /// The step's name in plans, ids and metrics.
    pub fn step(&self) -> &'static str {
        match self {
            Op::Source { .. } => "source",
            Op::Run { .. } => "run",
            Op::DeadLetter => "dead_letter",
            Op::KeyBy => "key_by",
            Op::EventTime => "event_time",
            Op::Window(_) => "window",
            Op::Emit { .. } => "emit",
            Op::Changelog { .. } => "changelog",
            Op::Watermark { .. } => "watermark",
            Op::LateRows => "late_rows",
            Op::BadRows => "bad_rows",
            Op::Aggregate { .. } => "aggregate",
            Op::Keyed { .. } => "keyed",
            Op::Side => "side",
            Op::FlatMap { .. } => "flat_map",
            Op::Batch { .. } => "batch",
            Op::Async { .. } => "async",
            Op::Join { kind, matching, .. } => super::join::step(*kind, *matching),
            Op::Sort { .. } => "sort",
            Op::Limit { .. } => "limit",
            Op::Top { .. } => "top",
            Op::Over { .. } => "over",
            Op::Unnest { .. } => "unnest",
            Op::Distinct { .. } => "distinct",
            Op::Set { kind: SetKind::Intersect } => "intersect",
            Op::Set { kind: SetKind::Except } => "except",
            Op::Sample { .. } => "sample",
            Op::Union => "union",
            Op::PartitionBy { .. } => "partition_by",
            Op::Rebalance => "rebalance",
            Op::Sink { .. } => "sink",
        }
    }
    /// Whether it is an edge that the user placed: rows leave it as they come, and go to other instances.
    pub fn is_edge(&self) -> bool {
        matches!(self, Op::PartitionBy { .. } | Op::Rebalance)
    }
    /// Whether it only describes its input: nothing runs for it.
    pub fn is_note(&self) -> bool {
        matches!(self, Op::KeyBy | Op::EventTime | Op::Window(_) | Op::Emit { .. } | Op::Watermark { .. })
    }
    /// Whether rows that leave it are taken back, given whether those that come are.
    pub fn changes(&self, input: bool) -> bool {
        match self {
            Op::Aggregate { emit, .. } => emit.changes(),
            Op::Top { emit, .. } => emit.changes() || input,
            // pairs of rows that stay do, and so do left rows that have a partner
            Op::Join { kind, emit, .. } => input || (emit.changes() && !matches!(kind, JoinKind::Inner | JoinKind::Semi)),
            Op::Changelog { .. } | Op::BadRows => false,
            _ => input,
        }
    }
}

impl Plan {
    /// A node.
    ///
    /// # Errors
    /// If there is no such node: the plan was edited by hand.
    pub fn node(&self, id: NodeId) -> crate::Result<&Node> {
        self.nodes.get(id).ok_or_else(|| crate::Error::Plan(format!("it has no node {id}")))
    }
    /// The nearest node upstream that does work: notes skipped.
    ///
    /// # Errors
    /// As for [`node`](Self::node).
    pub fn work(&self, mut id: NodeId) -> crate::Result<NodeId> {
        loop {
            let node = self.node(id)?;
            match node.inputs.first() {
                Some(input) if node.op.is_note() => id = *input,
                _ => return Ok(id),
            }
        }
    }
    /// The nodes that read `id` (notes skipped), with the port.
    pub fn consumers(&self, id: NodeId) -> Vec<(NodeId, usize)> {
        let mut out = Vec::new();
        for (n, node) in self.nodes.iter().enumerate() {
            if node.op.is_note() {
                continue;
            }
            for (port, input) in node.inputs.iter().enumerate() {
                if self.work(*input).ok() == Some(id) {
                    out.push((n, port));
                }
            }
        }
        out
    }
}
