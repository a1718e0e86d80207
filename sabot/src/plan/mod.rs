//! The logical DAG, its passes, and how it is explained and drawn.

mod explain;
mod mermaid;
mod node;
mod prune;
mod push_down;
mod time;

pub use explain::explain;
pub use mermaid::mermaid;
pub use node::{AggregateColumn, EventColumn, JoinKind, Node, NodeId, Op, Plan, PlanColumn, SetKind, SortBy, Span};
pub use prune::{Lineages, prune};
pub use push_down::push_down;
pub use time::{Times, times};

/// The column that a left join adds: whether the row has a partner.
pub const MATCHED: &str = "__matched";
