//! One attempt to run a job, as far as this process goes: its lead, where its shares are, and how it ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::cluster::door;
use crate::cluster::placement::{Assigned, Assignments};
use crate::cluster::store::TaskId;
use crate::operator::{Account, EventTime};
use crate::runtime::share::{FromShare, Lead, NodeMetrics, StageShape};
use crate::runtime::{CheckpointReport, CheckpointTaken, Report};
use crate::sync::lock;
use crate::{Error, Result};

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum End {
    /// All rows are where they belong.
    Finished,
    /// It was stopped with this savepoint.
    Suspended(String),
    /// It was cancelled.
    Cancelled,
    /// Something failed. `again`: whether another attempt may help.
    Failed {
        /// What, as a sentence.
        error: String,
        /// Whether another attempt may help.
        again: bool,
    },
}

/// How far an attempt is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Stage {
    /// Shares are being begun.
    #[default]
    Deploying,
    /// All are ready, and were told to start.
    Running,
    /// It is over.
    Over(End),
}

/// One attempt.
pub(in crate::cluster) struct Run {
    pub(in crate::cluster) job: String,
    pub(in crate::cluster) attempt: u32,
    pub(super) assignments: Assignments,
    pub(super) shapes: Vec<StageShape>,
    /// Gone when the attempt is over, since it holds the place of the checkpoints.
    lead: Mutex<Option<Arc<Lead>>>,
    /// What the lead said last.
    last: Mutex<Last>,
    names: OnceLock<Vec<String>>,
    stage: watch::Sender<Stage>,
    ready: Mutex<BTreeSet<usize>>,
    noted: Mutex<Option<u64>>,
    samples: Mutex<Samples>,
    /// Whether its slots are given back.
    released: Mutex<bool>,
    /// The agents' own numbers of the slots.
    numbers: OnceLock<Vec<u32>>,
}

/// The last words of a lead.
#[derive(Default)]
struct Last {
    metrics: Vec<Vec<NodeMetrics>>,
    checkpoints: CheckpointReport,
    failed: Option<usize>,
}

/// Counts of steps over the last seconds: when, and rows in and out by step.
type Samples = VecDeque<(Duration, BTreeMap<usize, Account>)>;

/// How many samples rates are of; one a second is taken, as often as shares tell.
const SAMPLES: usize = 6;

/// A step over all shares.
#[derive(Clone, Debug, Default)]
pub(super) struct StepNow {
    pub(super) node: usize,
    pub(super) name: String,
    pub(super) instances: usize,
    pub(super) shares: Vec<usize>,
    pub(super) account: Account,
    pub(super) queued: u64,
    pub(super) blocked: usize,
    pub(super) watermark: Option<EventTime>,
    pub(super) held: u64,
    pub(super) per_second: (f64, f64),
}

impl Run {
    pub(super) fn new(job: &str, attempt: u32, assignments: Assignments, shapes: Vec<StageShape>) -> Arc<Self> {
        Arc::new(Run {
            job: job.to_owned(),
            attempt,
            assignments,
            shapes,
            lead: Mutex::default(),
            last: Mutex::default(),
            names: OnceLock::new(),
            stage: watch::Sender::new(Stage::Deploying),
            ready: Mutex::default(),
            noted: Mutex::default(),
            samples: Mutex::default(),
            released: Mutex::new(false),
            numbers: OnceLock::new(),
        })
    }
    /// Says which of their agents' slots its slots are.
    pub(super) fn number_slots(&self, numbers: Vec<u32>) {
        let _ = self.numbers.set(numbers);
    }
    pub(super) fn slot_numbers(&self) -> Vec<u32> {
        self.numbers.get().cloned().unwrap_or_default()
    }
    /// The tasks of the share whose error ended it.
    pub(super) fn failed_tasks(&self) -> Vec<TaskId> {
        let Some(share) = lock(&self.last).failed else { return Vec::new() };
        let here = self.assignments.tasks.iter().filter(|t| self.assignments.slots.get(t.slot) == Some(&share));
        here.map(Assigned::task).collect()
    }
    /// Its lead, which is driven to its end.
    pub(super) fn led_by(self: &Arc<Self>, lead: &Arc<Lead>) -> Result<()> {
        let _ = self.names.set(lead.nodes());
        *lock(&self.lead) = Some(Arc::clone(lead));
        let run = Arc::clone(self);
        door::driven(&self.job, Arc::clone(lead), move |lead| {
            let result = lead.wait();
            *lock(&run.last) = Last { metrics: lead.metrics(), checkpoints: lead.checkpoints(), failed: lead.failed_share() };
            drop(lock(&run.lead).take());
            drop(lead);
            run.over(end_of(&result));
        })
    }
    /// Its lead, while it goes on. Not to be kept: see there.
    pub(super) fn lead(&self) -> Option<Arc<Lead>> {
        lock(&self.lead).clone()
    }
    pub(super) fn over(&self, end: End) {
        self.stage.send_if_modified(|stage| {
            let first = !matches!(stage, Stage::Over(_));
            if first {
                *stage = Stage::Over(end);
            }
            first
        });
    }
    pub(super) fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }
    /// Waits for a stage that fits.
    pub(super) async fn until(&self, fits: impl FnMut(&Stage) -> bool) -> Stage {
        let mut stages = self.stage.subscribe();
        let mut fits = fits;
        // the sender is in `self`, so that it cannot be gone
        let found = stages.wait_for(|s| fits(s)).await.map(|s| s.clone());
        found.unwrap_or(Stage::Over(End::Failed { error: "the attempt is gone".into(), again: true }))
    }
    /// The epoch of the agent that has a share.
    pub(super) fn epoch_of(&self, share: usize) -> Option<u64> {
        self.assignments.agents.get(share).map(|(_, epoch)| *epoch)
    }
    /// A share says something.
    pub(super) fn on(&self, share: usize, message: FromShare) {
        let ready = matches!(message, FromShare::Ready { .. });
        if let Some(lead) = self.lead() {
            lead.on(share, message);
        }
        if ready {
            let mut all = lock(&self.ready);
            all.insert(share);
            if all.len() == self.assignments.agents.len() {
                self.stage.send_if_modified(|stage| {
                    let first = *stage == Stage::Deploying;
                    if first {
                        *stage = Stage::Running;
                    }
                    first
                });
            }
        }
    }
    /// A share has returned what it had, whatever it said last.
    pub(super) fn share_ended(&self, share: usize) {
        if let Some(lead) = self.lead() {
            let gone = std::io::Error::from(std::io::ErrorKind::NotConnected);
            lead.ended(share, Error::io("a share of the job", "has ended without a word", gone));
        }
    }
    /// Checkpoints that were not [noted](Self::noted) yet, oldest first.
    pub(super) fn fresh_checkpoints(&self) -> Vec<CheckpointTaken> {
        let noted = *lock(&self.noted);
        let taken = self.lead().map_or_else(|| lock(&self.last).checkpoints.clone(), |lead| lead.checkpoints());
        taken.recent.into_iter().filter(|c| noted.is_none_or(|n| c.epoch > n)).collect()
    }
    /// The store knows all checkpoints up to this.
    pub(super) fn noted(&self, epoch: u64) {
        *lock(&self.noted) = Some(epoch);
    }
    /// The agent of this epoch is not heard any more.
    pub(super) fn lose(&self, epoch: u64, why: &str) {
        let shares = self.assignments.agents.iter().enumerate().filter(|(_, (_, e))| *e == epoch);
        for (share, (name, _)) in shares {
            if let Some(lead) = self.lead() {
                let gone = std::io::Error::new(std::io::ErrorKind::NotConnected, why.to_owned());
                lead.lost(share, Error::io(format!("agent `{name}`"), "was lost", gone));
            } else {
                self.over(End::Failed { error: why.to_owned(), again: true });
            }
        }
    }
    /// Whether its slots count as taken.
    pub(in crate::cluster) fn holds_slots(&self) -> bool {
        !*lock(&self.released)
    }
    pub(super) fn release(&self) {
        *lock(&self.released) = true;
    }

    /// Its steps, in the order of the physical plan.
    pub(super) fn steps(&self) -> Vec<StepNow> {
        let told = self.lead().map_or_else(|| lock(&self.last).metrics.clone(), |lead| lead.metrics());
        let names = self.names.get().map_or(&[][..], Vec::as_slice);
        let mut steps: Vec<StepNow> =
            names.iter().enumerate().map(|(node, name)| StepNow { node, name: name.clone(), ..StepNow::default() }).collect();
        for (share, nodes) in told.iter().enumerate() {
            for m in nodes {
                let Some(step) = steps.get_mut(m.node) else { continue };
                step.watermark = if step.instances == 0 { m.watermark } else { step.watermark.zip(m.watermark).map(|(a, b)| a.min(b)) };
                step.instances += m.instances;
                step.shares.push(share);
                step.account.add(&m.account);
                step.queued += m.queued;
                step.blocked += m.blocked;
                step.held += m.held;
            }
        }
        let samples = lock(&self.samples);
        if let (Some((from, before)), Some((to, after))) = (samples.front(), samples.back()) {
            let span = to.saturating_sub(*from).as_secs_f64();
            for step in steps.iter_mut().filter(|_| span > 0.0) {
                if let Some((before, after)) = before.get(&step.node).zip(after.get(&step.node)) {
                    let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / span;
                    step.per_second = (rate(before.rows_in, after.rows_in), rate(before.rows_out, after.rows_out));
                }
            }
        }
        steps
    }
    /// Notes how far its steps are, for rates.
    pub(super) fn sample(&self) {
        let now = self.steps().iter().map(|s| (s.node, s.account)).collect();
        let mut samples = lock(&self.samples);
        samples.push_back((door::now(), now));
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
    }
}

/// What became of it.
fn end_of(result: &Result<Report>) -> End {
    match result {
        Ok(_) => End::Finished,
        Err(Error::Suspended(name)) => End::Suspended(name.clone()),
        Err(Error::Cancelled) => End::Cancelled,
        Err(error) => {
            // what a user wrote wrongly stays wrong
            let again = !matches!(error, Error::Usage(_) | Error::Plan(_) | Error::Schema { .. });
            End::Failed { error: error.to_string(), again }
        }
    }
}
