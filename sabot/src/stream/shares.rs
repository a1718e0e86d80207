//! A job in several processes: see [`share`](crate::runtime::share).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::Result;
use crate::operator::{BoundSink, PhysicalPlan};
use crate::runtime::share::{self, Carrier, FromShare, Lead, Member, Share, ShareReport, StageShape, ToShare};
use crate::runtime::{Checkpoint, Executor, Pool};

use super::Job;
use super::lower::{How, Lowered};

impl Job {
    /// The stages of this job with so many instances of each parallel step, as they are placed on processes.
    ///
    /// # Errors
    /// As for [`stages`](share::stages).
    pub fn stages(&self, parallelism: usize) -> Result<Vec<StageShape>> {
        share::stages(&self.lowered(&self.over(parallelism, None)?)?.plan, &self.identified()?, parallelism)
    }
    /// The lead of an attempt to run this job in several processes, with so many instances of each parallel step over all of them.
    ///
    /// # Errors
    /// As for [`Lead::open`].
    pub fn lead(&self, parallelism: usize, executor: Arc<dyn Executor>) -> Result<Arc<Lead>> {
        self.lead_from(parallelism, executor, None)
    }
    pub(crate) fn lead_from(&self, parallelism: usize, executor: Arc<dyn Executor>, from: Option<&Checkpoint>) -> Result<Arc<Lead>> {
        self.check_names()?;
        Lead::open_from(Arc::new(self.lowered(&self.over(parallelism, from)?)?.plan), &self.identified()?, parallelism, executor, from)
    }
    /// How it runs in several processes, with so many instances of each parallel step, from the beginning or from a checkpoint.
    fn over(&self, parallelism: usize, from: Option<&Checkpoint>) -> Result<How> {
        // what is sent to all instances does not spill
        let instances = self.options.memory_budget.is_none().then_some(parallelism);
        Ok(How { instances, ..spread(self.before(from)?) })
    }
    /// Runs a share of this job to its end, on the workers of `pool`: see [`run_share`](share::run_share).
    ///
    /// # Errors
    /// As for [`run_share`](share::run_share); the lead is told.
    pub fn run_share(
        &self,
        pool: &Pool,
        share: Share,
        carrier: Arc<dyn Carrier>,
        up: Arc<dyn Fn(FromShare) + Send + Sync>,
        down: Receiver<ToShare>,
    ) -> Result<ShareReport> {
        let lowered = self.check_names().and_then(|()| Ok((self.lowered(&spread(share.steps.clone()))?, self.identified()?)));
        let (lowered, options) = lowered.inspect_err(|error| up(FromShare::Failed(error.into())))?;
        let plan = Arc::new(lowered.plan.clone());
        share::run_share((plan, &options), pool, &|nodes| self.sinks_of(&lowered, nodes), share, carrier, up, down)
    }
    /// A share that someone else drives.
    pub(crate) fn member(
        self: &Arc<Self>,
        executor: Arc<dyn Executor>,
        share: Share,
        carrier: Arc<dyn Carrier>,
        up: Arc<dyn Fn(FromShare) + Send + Sync>,
    ) -> Result<Member<'static>> {
        let lowered = self.lowered(&spread(share.steps.clone()))?;
        let plan: Arc<PhysicalPlan> = Arc::new(lowered.plan.clone());
        let job = Arc::clone(self);
        let open = Box::new(move |nodes: &[usize]| job.sinks_of(&lowered, nodes));
        Ok(Member::new(executor, (plan, &self.identified()?), open, share, carrier, up))
    }
    fn sinks_of(&self, lowered: &Lowered, nodes: &[usize]) -> Result<Vec<BoundSink>> {
        self.bind_some(lowered, &BTreeMap::new(), |node| nodes.contains(&node))
    }
}

/// How a job runs in several processes, with these physical nodes if they are known.
fn spread(before: Vec<String>) -> How {
    How { apart: true, spread: true, instances: None, before }
}
