//! The control store: what the job manager must not forget.
//!
//! Idea: jobs, their tasks, agents, placements, operations, checkpoints and events are rows of one database, and every change of them is one transaction
//! that begins with the question whether the writer still leads ([`Fence`]). A server that lost its place while it slept can change nothing any more.
//!
//! `control` is the store, `leader` who leads it; `jobs`, `agents`, `placement`, `operations`, `checkpoints` and `events` are its methods, `keeping` forgets
//! what is over long since, `types` are the rows, `schema` the tables. Their statements are written once, and run by small drivers (`database`): `sqlite`,
//! embedded, `postgres`, and `memory` for tests.

mod agents;
mod checkpoints;
mod control;
mod database;
mod events;
mod jobs;
mod keeping;
mod leader;
mod memory;
mod operations;
mod placement;
#[cfg(feature = "cluster-postgres")]
mod postgres;
mod schema;
mod sqlite;
mod types;

pub use agents::{Bereft, NewAgent};
pub(super) use control::Engine;
pub use control::{ControlStore, Place};
pub use jobs::NewJob;
#[cfg(test)]
pub(super) use keeping::ATTEMPTS;
pub use leader::{Claim, Fence, Leader};
pub use memory::Memory;
pub use types::{
    Agent, AgentState, Assignment, Checkpoint, CheckpointKind, Event, EventFilter, Job, JobChange, JobFilter, JobLine, JobState, Keep,
    Level, Operation, OperationKind, OperationState, Placed, Server, Task, TaskId, TaskState,
};
