//! Executor, stages, tasks, input gates, watermarks, barriers, checkpoints, observation.
//!
//! From the outside: [`run`] a [`PhysicalPlan`](crate::operator::PhysicalPlan) with bound sinks, [`RunOptions`] and a
//! [`Control`]; get a [`Report`]; [`resume`] from a [`Checkpoint`].
//!
//! Inside: a `graph` of stages; per stage and instance a `task`, made of a root (a `feed` of splits, or an
//! `inlet` of channels with a `gate` per port) and a `chain` of operators; a `job` that decides who runs, on an
//! `executor`; a `coordinate`d checkpoint.

mod build;
mod chain;
mod checkpoint;
mod checkpoint_file;
mod control;
mod coordinate;
mod executor;
mod feed;
mod gate;
mod graph;
mod inlet;
mod inline;
mod job;
mod launch;
mod ledger;
mod marks;
mod needs;
mod options;
#[cfg(feature = "async")]
mod outside;
mod pool;
mod progress;
mod report;
mod retry;
mod simulated;
mod sink;
mod task;
mod timers;
#[cfg(feature = "async")]
mod tokio;
mod util;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, InFlight, NodeMarks, NodeState, OpenSplit, SourcePosition, SplitKey};
pub use control::{Control, Ticket};
pub use executor::{Done, Executor, Run};
pub use inline::Inline;
pub use launch::{resume, run, run_on};
pub use options::{ProgressHook, Progressed, RunOptions};
pub use pool::Pool;
pub use report::{NodeReport, Report, WorkerReport};
pub use simulated::Simulated;
