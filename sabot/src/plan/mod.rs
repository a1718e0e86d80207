//! The logical DAG, its passes, and how it is explained and drawn.
//!
//! ```
//! use sabot::plan::Op;
//! use sabot::prelude::*;
//!
//! #[derive(Record, Clone)]
//! struct Trade { symbol: Str, price: f64, qty: i64 }
//!
//! pipeline! {
//!     /// The dearest price of each symbol.
//!     pub fn dearest(trades: Source<Trade, Bounded>);
//!     dearest = trades -> filter(|t| t.price > 0.0) -> key_by(symbol) -> aggregate(|t| row { price: max(t.price) });
//!     dearest -> sink;
//! }
//!
//! # fn main() -> Result<()> {
//! let job = dearest(Vec::<Trade>::new());
//! let plan = job.plan()?;
//! // nobody reads `qty`, so the source does not deliver it
//! let source = plan.nodes.iter().find(|n| matches!(n.op, Op::Source { .. })).map(|n| n.columns.len());
//! assert_eq!(source, Some(2));
//! assert!(job.explain()?.contains("filter t.price > 0.0") && job.mermaid()?.starts_with("flowchart") && job.svg()?.contains("<svg"));
//! # Ok(()) }
//! ```

mod emit;
mod explain;
mod explanation;
mod identity;
mod join;
mod mermaid;
mod node;
mod order;
mod prune;
mod push_down;
mod svg;
mod time;

pub use emit::{Emit, When};
pub use explain::explain;
pub(crate) use explain::span;
pub use explanation::{ExplainedExpr, ExplainedStep, Explanation, PhysicalStep};
#[doc(hidden)]
pub use identity::identity;
pub use join::{Direction, JoinKind, Matching};
#[doc(hidden)]
pub use join::{HAS_LEFT, HAS_RIGHT};
pub use mermaid::mermaid;
pub use node::{AggregateColumn, EventColumn, Node, NodeId, Op, Plan, PlanColumn, SetKind, SortBy, Span};
#[doc(hidden)]
pub use order::{blocks_show, order_matters, order_shows};
#[doc(hidden)]
pub use prune::{Lineages, prune};
#[doc(hidden)]
pub use push_down::push_down;
pub use svg::svg;
#[doc(hidden)]
pub use time::{Times, times, told};
