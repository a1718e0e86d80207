//! Durable workflows: async functions whose steps are written down, so that they go on after a crash where they were.
//!
//! Idea: a workflow is an `async fn(Flow, input) -> output`, known by name ([`Definitions`]) and started by id ([`Workflows::start`]). What it does to the
//! world it does in steps ([`Flow::step`]): the value of a finished step is recorded before the workflow goes on. After a crash the function runs again
//! from its beginning, and each finished step answers what it answered before, at once, without being called.
//!
//! Contract, whatever the database:
//! - **A step's body runs at least once.** A crash after its effect and before its record runs it again: bodies are idempotent, with the workflow's id
//!   and the step's name as their key. Its recorded value counts once.
//! - **The function decides by what is recorded**: by its input, by values of steps, by messages. It reads no clock, no random number and no
//!   memory of the process between steps; a step that comes where another was recorded ends the workflow with an error.
//! - **Steps are called by the workflow's own task**, and not by the body of a step. [`Flow`] may be joined over (`tokio::join!`), but not be handed to
//!   a spawned task. Anything may call [`Workflows`], bodies of steps too.
//! - **Errors are recorded too**, as their sentence. A step that failed for good fails again in the same words.
//! - **Cancelling and stopping are like a crash at the next `await`**: the body is dropped there. [`Workflows::cancel`] returns when nothing of it runs
//!   here any more; so a [`Workflows::resume`] never runs beside it.
//! - One process at a time runs workflows of a database: it is the [leader](super::store::Leader). Whoever opens an engine has the leader's place first.
//!
//! Two engines keep it: `embedded` with one SQLite file, and `postgres`, whose tables DBOS's own tools read. Costs are told there. A third one, `memory`, is for
//! tests: it survives the servers of a simulation, and not their process.

mod definitions;
mod embedded;
mod flow;
mod memory;
#[cfg(feature = "cluster-postgres")]
mod postgres;
mod running;
mod watch;
mod workflows;

pub use definitions::Definitions;
pub use flow::{Body, Flow, Retry, Steps};
pub(super) use memory::Log;
pub use watch::{At, Moment, Watch};
pub use workflows::{Filter, Recovery, State, StepSummary, Summary, Workflows};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::store::{ControlStore, Engine, Leader};
use crate::{Error, Result};

/// A future of an object-safe trait.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Opens the engine of a control store, and lets unfinished workflows go on: [`Workflows::recovered`]. One per leadership; when that is
/// [lost](Leader::lost), it is to be [stopped](Workflows::stop) at once.
///
/// # Errors
/// If this server does not lead, or the store does not answer.
pub async fn open(store: &ControlStore, leader: &Leader, definitions: &Definitions) -> Result<Arc<dyn Workflows>> {
    if !leader.leads() {
        return Err(Error::Control(format!("workflows run where the leader is, and this server is not: {}", leader.lost().await)));
    }
    match store.engine() {
        Engine::Embedded(embedded) => Ok(Arc::new(embedded::Embedded::open(embedded.writer().clone(), definitions).await?)),
        Engine::Memory(memory) => Ok(Arc::new(memory::InMemory::open(Arc::clone(memory.log()), definitions))),
        #[cfg(feature = "cluster-postgres")]
        Engine::Postgres(database) => {
            let unfinished = store.unfinished_workflows().await?;
            store.forgive_workflows().await?;
            Ok(Arc::new(postgres::Postgres::open(database.url(), unfinished, definitions).await?))
        }
    }
}
