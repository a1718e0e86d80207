//! Several machines: a server that places jobs, agents that run them.
//!
//! A program with pipelines is the server (`program server`), the agents (`program agent --join http://..`) and the tool (`program submit`,
//! `program jobs`): one executable everywhere. The server lets agents in, places the tasks of a job on their slots, coordinates its checkpoints, and
//! brings it up again when something is lost.

mod build;
mod membership;
mod placement;
mod states;
#[cfg(test)]
mod tests;

pub use build::Build;
pub use membership::{BEAT, Beat, Change, Fenced, LEASE, Lease, Member, Membership, Refusal, Registration, Standing};
pub use placement::{Assignment, Assignments, Demand, Offer, TooFew, place};
pub use states::{History, JobState, Step, TaskState};
