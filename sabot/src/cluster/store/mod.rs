//! The control store: what the job manager must not forget.
//!
//! Idea: jobs, their tasks, agents, placements, operations, checkpoints and events are rows of one database, and every change of them is one transaction
//! that begins with the question whether the writer still leads ([`Fence`]). A server that lost its place while it slept can change nothing any more.

mod types;

pub use types::{
    Agent, AgentState, Assignment, Checkpoint, CheckpointKind, Event, EventFilter, Job, JobChange, JobState, Level, Operation,
    OperationKind, OperationState, Placed, Server, Task, TaskId, TaskState,
};
