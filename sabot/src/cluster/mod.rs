//! Several machines: a job manager that survives anything, and what it writes down.
//!
//! `durable` runs actions of several steps to their end whoever is killed, `store` holds jobs, agents, placements and operations.

pub mod durable;
pub mod store;
