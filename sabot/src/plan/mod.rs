//! The logical DAG, its passes, and how it is explained and drawn.

mod explain;
mod explanation;
mod join;
mod mermaid;
mod node;
mod order;
mod prune;
mod push_down;
mod svg;
mod time;

pub use explain::explain;
pub use explanation::{ExplainedExpr, ExplainedStep, Explanation, PhysicalStep};
pub use join::{Direction, HAS_LEFT, HAS_RIGHT, JoinKind, Matching};
pub use mermaid::mermaid;
pub use node::{AggregateColumn, EventColumn, Node, NodeId, Op, Plan, PlanColumn, SetKind, SortBy, Span};
pub use order::order_matters;
pub use prune::{Lineages, prune};
pub use push_down::push_down;
pub use svg::svg;
pub use time::{Times, times};
