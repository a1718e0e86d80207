//! Running a share.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::{Carrier, FromShare, Share, ShareReport, StageShape, ToShare};
use crate::operator::{BoundSink, PhysicalPlan};
use crate::runtime::RunOptions;
use crate::runtime::graph::Graph;
use crate::{Error, Result};

/// The stages of a plan that begins from its start, with so many instances of each parallel step.
///
/// # Errors
/// If the plan is inconsistent.
pub fn stages(plan: &PhysicalPlan, parallelism: usize) -> Result<Vec<StageShape>> {
    Ok(Graph::new(plan, parallelism, |_, _| false)?.shapes(plan))
}

/// Runs a share of a job to its end, on worker threads of its own, while the calling thread waits. `sinks` opens the sinks of these nodes,
/// those that are here. `up` tells the lead, and must not block; `down` is what the lead says: if it hangs up, the share ends with an error.
///
/// # Errors
/// The first error of any step that is here, which the lead is told; that with which the lead aborts it.
pub fn run_share(
    plan: &PhysicalPlan,
    options: &RunOptions,
    sinks: &dyn Fn(&[usize]) -> Result<Vec<BoundSink>>,
    share: Share,
    carrier: Arc<dyn Carrier>,
    up: Arc<dyn Fn(FromShare) + Send + Sync>,
    down: Receiver<ToShare>,
) -> Result<ShareReport> {
    let _ = (plan, options, sinks, share, carrier, up, down);
    Err(Error::internal("shares are not built yet"))
}
