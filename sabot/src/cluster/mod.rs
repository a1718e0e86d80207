//! Several machines: a job manager that survives anything, and agents that run its jobs.
//!
//! A program with pipelines is the server (`program server`), the agents (`program agent --join ..`) and the tool (`program submit`,
//! `program jobs`): one executable everywhere. The server lets agents in, places the tasks of a job on their slots, coordinates its checkpoints, and
//! brings it up again when something is lost.
//!
//! `durable` runs actions of several steps to their end whoever is killed, `store` holds jobs, agents, placements and operations.

mod agent;
pub mod api;
mod build;
mod client;
mod door;
pub mod durable;
mod membership;
mod outputs;
mod placement;
mod server;
pub mod store;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

pub use agent::{AgentOptions, Ending, run_agent};
pub use build::Build;
pub use client::Client;
pub use membership::{BEAT, Beat, Change, Fenced, LEASE, Lease, Member, Membership, Refusal, Registration, Standing};
pub use placement::{Assigned, Assignments, Demand, Offer, TooFew, place};
pub(crate) use server::WAITS;
pub use server::{ServerOptions, run_server};
pub use tls::Trust;

/// This machine's name, if the system tells it.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// The build of the process that runs now, in a simulation.
#[cfg(test)]
pub(crate) fn simulated_build() -> Option<u32> {
    tests::world::here().map(|world| world.build())
}
