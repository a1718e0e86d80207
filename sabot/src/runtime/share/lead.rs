//! The coordinator of all shares of a job.

use std::sync::Arc;
use std::time::Duration;

use super::{Fault, FromShare, NodeMetrics, Placement, Share, StageShape, ToShare};
use crate::operator::PhysicalPlan;
use crate::runtime::{Executor, Report, RunOptions, Savepoint, Ticket};
use crate::{Error, Result};

/// Leads one attempt to run a job: from its start, the newest checkpoint in its directory, or a savepoint, to its end.
///
/// All calls may come from any thread and do not block, but for [`open`](Self::open), [`begin`](Self::begin) and [`wait`](Self::wait).
pub struct Lead {
    _private: (),
}

impl std::fmt::Debug for Lead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lead").finish_non_exhaustive()
    }
}

impl Lead {
    /// Takes the place of the job's checkpoints, if it has one ([`RunOptions::checkpoint_dir`]), and looks what the job begins with. The
    /// executor runs the lead's own work: an [`Inline`](crate::runtime::Inline) one does, on the thread that [waits](Self::wait).
    ///
    /// # Errors
    /// If the plan, the sources, or the place of the checkpoints do not allow it to run.
    pub fn open(plan: Arc<PhysicalPlan>, options: &RunOptions, parallelism: usize, executor: Arc<dyn Executor>) -> Result<Arc<Lead>> {
        let _ = (plan, options, parallelism, executor);
        Err(Error::internal("leads are not built yet"))
    }
    /// The stages that are to be placed.
    pub fn stages(&self) -> Vec<StageShape> {
        Vec::new()
    }
    /// Decides who runs what, and how shares are told (`send`, which must not block). Returns what each share begins with.
    ///
    /// # Errors
    /// If the placement is not of these stages; if the place of the checkpoints cannot be written.
    pub fn begin(self: &Arc<Self>, placement: Placement, send: Arc<dyn Fn(usize, ToShare) + Send + Sync>) -> Result<Vec<Share>> {
        let _ = (placement, send);
        Err(Error::internal("leads are not built yet"))
    }
    /// A share says something.
    pub fn on(self: &Arc<Self>, share: usize, message: FromShare) {
        let _ = (share, message);
    }
    /// A share is not heard any more: the job ends with this error.
    pub fn lost(self: &Arc<Self>, share: usize, error: Error) {
        self.on(share, FromShare::Failed(Fault::from(&error)));
    }
    /// Asks for a checkpoint now; they also come by themselves.
    pub fn request_checkpoint(self: &Arc<Self>) {}
    /// Asks for a savepoint of this name; with `stop` the job then ends with [`Error::Suspended`].
    pub fn request_savepoint(self: &Arc<Self>, name: &str, stop: bool) -> Ticket<Savepoint> {
        let _ = (name, stop);
        Ticket::default()
    }
    /// Ends the job gracefully: sources end where they are, all rows drain, sinks commit.
    pub fn stop(self: &Arc<Self>) {}
    /// Ends the job at once, with this error.
    pub fn cancel(self: &Arc<Self>, error: Error) {
        let _ = error;
    }
    /// Drives the lead's executor until the job is over in all shares that can be heard.
    ///
    /// # Errors
    /// That with which the job ended.
    pub fn wait(self: &Arc<Self>) -> Result<Report> {
        Err(Error::internal("leads are not built yet"))
    }
    /// The share whose error ended the job.
    pub fn failed_share(&self) -> Option<usize> {
        None
    }
    /// How long to wait, after the end, until no share of this attempt can still write: zero if all have said that they have ended.
    pub fn fenced_in(&self) -> Duration {
        Duration::ZERO
    }
    /// What each share has told of its steps last.
    pub fn metrics(&self) -> Vec<Vec<NodeMetrics>> {
        Vec::new()
    }
}
