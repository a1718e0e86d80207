//! Executor, stages, tasks, input gates, watermarks, barriers, checkpoints, observation.
//!
//! From the outside: run a [`Job`](crate::stream::Job) with [`RunOptions`] and a [`Control`]; get a [`Report`]; resume from a [`Checkpoint`],
//! or name a directory ([`RunOptions::checkpoint_dir`]) in which checkpoints are kept, and from which the job continues by itself.
//!
//! ```
//! use sabot::prelude::*;
//! use sabot::runtime::Control;
//!
//! #[derive(Record, Clone, Debug)]
//! struct Number { n: i64 }
//!
//! pipeline! {
//!     /// The even ones.
//!     pub fn evens(numbers: Source<Number, Bounded>);
//!     evens = numbers -> filter(|x| x.n % 2 == 0);
//!     evens -> sink;
//! }
//!
//! # fn main() -> Result<()> {
//! let numbers: Vec<Number> = (0..10).map(|n| Number { n }).collect();
//! let job = evens(numbers).sink("evens", to("blackhole:")).options(|o| o.checkpoints = true);
//! let control = Control::new();
//! let ticket = control.request_snapshot(); // before the start: taken at the start
//! let report = job.run_with(&control)?;
//! let sink = report.nodes.iter().find(|n| n.name.ends_with("sink")).map(|n| n.account.rows_in);
//! assert_eq!(sink, Some(5));
//! let checkpoint = ticket.wait()?;
//! assert_eq!(job.resume(&Control::new(), &checkpoint)?.nodes.len(), report.nodes.len()); // goes on from there
//! # Ok(()) }
//! ```
//!
//! Inside: a `graph` of stages; per stage and instance a `task`, made of a root (a `feed` of splits, or an
//! `inlet` of channels with a `gate` per port) and a `chain` of operators; a `job` that decides who runs, on an
//! `executor`; a `coordinate`d checkpoint, which is `settle`d in a `store`.

mod basis;
mod begin;
mod build;
mod carry;
mod chain;
mod checker;
mod checkpoint;
mod checkpoint_file;
mod checksum;
mod claims;
mod control;
mod coordinate;
mod dealt;
mod direct;
mod discover;
mod drift;
mod executor;
mod feed;
mod gate;
mod graph;
mod home;
mod idle;
mod inlet;
mod inline;
mod job;
mod late;
mod launch;
mod ledger;
mod marks;
mod needs;
#[cfg(feature = "object-store")]
mod objects;
mod options;
mod outside;
mod pace;
mod place;
mod pool;
mod progress;
mod proof;
mod report;
mod requests;
mod retry;
mod saved;
mod savepoints;
mod seam;
mod settle;
mod shape;
pub mod share;
mod simulated;
mod sink;
mod storage;
mod store;
mod task;
mod timers;
#[cfg(feature = "async")]
mod tokio;
mod util;
#[cfg(any(feature = "object-store", feature = "postgres"))]
pub(crate) mod waiting;

#[cfg(test)]
mod tests;

pub use carry::{Fate, SavepointCheck, StepFate, check_savepoint};
pub use checkpoint::{Checkpoint, InFlight, NodeMarks, NodeState, OpenSplit, Proof, SourcePosition, SplitKey, Stored};
pub use checkpoint_file::CHECKPOINT_FORMAT;
pub use control::{Control, Ticket};
pub use executor::{Done, Executor, Run};
pub use inline::Inline;
#[doc(hidden)]
pub use launch::{resume, run, run_on};
pub use options::{ProgressHook, Progressed, RunOptions};
pub use pace::Pace;
pub use pool::Pool;
pub use report::{CheckpointReport, CheckpointTaken, NodeReport, Report, WorkerReport};
pub use requests::ask_for_savepoint;
pub use savepoints::{Savepoint, delete_savepoint, find_savepoint, savepoints};
#[cfg(feature = "cluster")]
pub(crate) use savepoints::{keep_newest, savepoint_named, savepoint_names};
pub use shape::StepShape;
pub use simulated::Simulated;
pub use store::newest_checkpoint;
pub(crate) use store::steps_before;
