//! One attempt to run a job, as far as this process goes: its lead, where its shares are, and how it ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::core::pause;
use crate::cluster::door;
use crate::cluster::placement::{Assigned, Assignments};
use crate::cluster::store::TaskId;
use crate::operator::{Account, EventTime};
use crate::runtime::share::{FromShare, Lead, NodeMetrics, StageShape};
use crate::runtime::{CheckpointReport, CheckpointTaken, Report, Savepoint, Ticket};
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
        /// What of the job it was.
        #[serde(default)]
        what: Failing,
    },
}

/// What fails when an attempt does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Failing {
    /// One of its tasks, or what they need.
    #[default]
    Task,
    /// An agent was lost.
    Agent,
    /// The server was killed, and nobody knows how the attempt ended.
    Server,
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
    pub(super) parallelism: usize,
    pub(super) assignments: Assignments,
    pub(super) shapes: Vec<StageShape>,
    /// Gone when the attempt is over, since it holds the place of the checkpoints.
    lead: Mutex<Option<Arc<Lead>>>,
    /// Whether its shares were begun, or are.
    begun: AtomicBool,
    /// Whether that goes on: a lead may follow.
    opening: AtomicBool,
    /// What the lead said last.
    last: Mutex<Last>,
    names: OnceLock<Vec<String>>,
    stage: watch::Sender<Stage>,
    ready: Mutex<BTreeSet<usize>>,
    /// Shares that agents were given, and have not returned.
    given: Mutex<BTreeSet<usize>>,
    noted: Mutex<Option<u64>>,
    /// How many savepoints the store knows.
    noted_savepoints: Mutex<usize>,
    samples: Mutex<Samples>,
    /// When its slots were given back.
    released: Mutex<Option<Duration>>,
    /// The agents' own numbers of the slots.
    numbers: OnceLock<Vec<u32>>,
}

/// The last words of a lead.
#[derive(Default)]
struct Last {
    metrics: Vec<Vec<NodeMetrics>>,
    checkpoints: CheckpointReport,
    failed: Option<usize>,
    /// What the steps of a job that has finished did, over all of its attempts, in the order of the plan.
    accounts: Vec<Account>,
}

/// Counts of steps over the last seconds: when, and rows in and out by step.
type Samples = VecDeque<(Duration, BTreeMap<usize, Account>)>;

/// How often is looked whether a savepoint is made.
const ASKED: Duration = Duration::from_millis(5);
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
    pub(super) fn new(job: &str, attempt: u32, parallelism: usize, assignments: Assignments, shapes: Vec<StageShape>) -> Arc<Self> {
        Arc::new(Run {
            job: job.to_owned(),
            attempt,
            parallelism,
            assignments,
            shapes,
            lead: Mutex::default(),
            begun: AtomicBool::new(false),
            opening: AtomicBool::new(false),
            last: Mutex::default(),
            names: OnceLock::new(),
            stage: watch::Sender::new(Stage::Deploying),
            ready: Mutex::default(),
            given: Mutex::default(),
            noted: Mutex::default(),
            noted_savepoints: Mutex::default(),
            samples: Mutex::default(),
            released: Mutex::default(),
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
    /// Whether it has still to be begun, by the caller then, who says when that is [done](Self::opened).
    pub(super) fn open(&self) -> bool {
        let first = !self.begun.swap(true, SeqCst);
        if first {
            self.opening.store(true, SeqCst);
        }
        first
    }
    /// It was begun, or has failed to, or that was broken off.
    pub(super) fn opened(&self) {
        self.opening.store(false, SeqCst);
        if self.names.get().is_none() {
            self.over(End::Failed { error: "its deployment was broken off".into(), again: true, what: Failing::Server });
        }
    }
    /// Whether it has, or may get, a lead: something of it may write then, though it be over.
    pub(super) fn is_led(&self) -> bool {
        self.opening.load(SeqCst) || lock(&self.lead).is_some()
    }
    /// Asks its lead for a savepoint. None if the attempt ends without it, or has no lead yet: to be asked again, or the next one.
    ///
    /// # Errors
    /// If it cannot be made, or the job has ended.
    pub(super) async fn save(&self, name: &str, stop: bool) -> Result<Option<Savepoint>> {
        let name = name.to_owned();
        self.asks(move |lead| lead.request_savepoint(&name, stop)).await
    }
    /// Asks its lead to end with a checkpoint, for this name. Whether it does; else to be asked again, or the next attempt.
    ///
    /// # Errors
    /// If the checkpoint cannot be made, or the job has ended.
    pub(super) async fn end(&self, name: &str) -> Result<bool> {
        let name = name.to_owned();
        Ok(self.asks(move |lead| lead.request_end(&name)).await?.is_some())
    }
    async fn asks<T>(&self, ask: impl FnOnce(&Arc<Lead>) -> Ticket<T>) -> Result<Option<T>> {
        let Some(lead) = self.lead() else {
            pause().await;
            return Ok(None);
        };
        let ticket = ask(&lead);
        // not kept while it works, since it holds the place of the checkpoints
        let asked = Arc::downgrade(&lead);
        drop(lead);
        let (made, ending) = loop {
            // in this order: a lead that is over answers nobody any more
            let over = asked.upgrade().is_none_or(|lead| lead.is_over());
            if let Some(made) = ticket.try_take() {
                let ending = made.is_err() && asked.upgrade().is_none_or(|lead| lead.is_ending());
                break (made, ending);
            }
            if over {
                break (Err(Error::Checkpoint("the job has ended before".into())), true);
            }
            door::sleep(ASKED).await;
        };
        match made {
            Ok(made) => Ok(Some(made)),
            Err(error) if !ending => Err(error),
            Err(error) => match self.until(|s| matches!(s, Stage::Over(_))).await {
                Stage::Over(End::Finished | End::Cancelled) => Err(error),
                _ => Ok(None),
            },
        }
    }
    /// Ends it, for a reason that is none of its own.
    pub(super) fn give_up(&self, why: &str) {
        match self.lead() {
            Some(lead) => lead.cancel(Error::Control(why.to_owned())),
            None => self.over(End::Failed { error: why.to_owned(), again: false, what: Failing::Task }),
        }
    }
    /// Its lead, which is driven to its end.
    ///
    /// # Errors
    /// If the attempt is over already: the lead is told to end then.
    pub(super) fn led_by(self: &Arc<Self>, lead: &Arc<Lead>) -> Result<()> {
        let _ = self.names.set(lead.nodes());
        *lock(&self.lead) = Some(Arc::clone(lead));
        let run = Arc::clone(self);
        let driven = door::driven(&self.job, Arc::clone(lead), move |lead| {
            let result = lead.wait();
            let accounts = result.as_ref().map(|report| report.nodes.iter().map(|n| n.account).collect()).unwrap_or_default();
            *lock(&run.last) = Last { metrics: lead.metrics(), checkpoints: lead.checkpoints(), failed: lead.failed_share(), accounts };
            let lost = lead.lost_share().is_some();
            drop(lock(&run.lead).take());
            drop(lead);
            let began = *run.stage.borrow() != Stage::Deploying;
            run.over(end_of(&result, run.attempt > 1 || began, lost));
        });
        driven.inspect_err(|_| drop(lock(&self.lead).take()))?;
        match self.stage() {
            Stage::Over(end) => Err(Error::Control(match end {
                End::Failed { error, .. } => error,
                _ => "the job ended while it was deployed".to_owned(),
            })),
            Stage::Deploying | Stage::Running => Ok(()),
        }
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
        found.unwrap_or(Stage::Over(End::Failed { error: "the attempt is gone".into(), again: true, what: Failing::Task }))
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
    /// An agent is given a share.
    pub(super) fn give(&self, share: usize) {
        lock(&self.given).insert(share);
    }
    /// It could not be given to it.
    pub(super) fn not_given(&self, share: usize) {
        lock(&self.given).remove(&share);
    }
    /// Agents that have not returned their shares, of those that are members yet: with the others, leases decide.
    pub(super) fn holders(&self, is_member: impl Fn(u64) -> bool) -> Vec<String> {
        let given = lock(&self.given).clone();
        let agents = given.iter().filter_map(|share| self.assignments.agents.get(*share));
        agents.filter(|(_, epoch)| is_member(*epoch)).map(|(name, _)| name.clone()).collect()
    }
    /// A share has returned what it had, whatever it said last.
    pub(super) fn share_ended(&self, share: usize) {
        self.not_given(share);
        if let Some(lead) = self.lead() {
            let gone = std::io::Error::from(std::io::ErrorKind::NotConnected);
            lead.ended(share, Error::io("a share of the job", "has ended without a word", gone));
        }
    }
    fn checkpoints(&self) -> CheckpointReport {
        self.lead().map_or_else(|| lock(&self.last).checkpoints.clone(), |lead| lead.checkpoints())
    }
    /// Savepoints that were not noted yet, oldest first, and the time that their checkpoints took.
    pub(super) fn fresh_savepoints(&self) -> Vec<(Savepoint, Duration)> {
        let (noted, all) = (*lock(&self.noted_savepoints), self.checkpoints());
        let took = |epoch: u64| all.recent.iter().find(|c| c.epoch == epoch).map(|c| c.time).unwrap_or_default();
        all.savepoints.iter().skip(noted).map(|s| (s.clone(), took(s.epoch))).collect()
    }
    /// The store knows so many savepoints more.
    pub(super) fn noted_savepoints(&self, more: usize) {
        *lock(&self.noted_savepoints) += more;
    }
    /// Checkpoints that were not [noted](Self::noted) yet, oldest first.
    pub(super) fn fresh_checkpoints(&self) -> Vec<CheckpointTaken> {
        let noted = *lock(&self.noted);
        self.checkpoints().recent.into_iter().filter(|c| noted.is_none_or(|n| c.epoch > n)).collect()
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
                self.over(End::Failed { error: format!("agent `{name}`: {why}"), again: true, what: Failing::Agent });
            }
        }
    }
    /// Whether its slots count as taken.
    pub(in crate::cluster) fn holds_slots(&self) -> bool {
        lock(&self.released).is_none()
    }
    pub(super) fn release(&self) {
        lock(&self.released).get_or_insert_with(door::now);
    }
    /// When its slots were given back.
    pub(super) fn released(&self) -> Option<Duration> {
        *lock(&self.released)
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
        if matches!(self.stage(), Stage::Over(_)) {
            // nothing passes any more
            let last = lock(&self.last);
            steps.iter_mut().zip(&last.accounts).for_each(|(step, account)| step.account = *account);
            return steps;
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

/// What became of it. `began`: whether the job has ever begun to run, as far as is known; `lost`: whether an agent was lost.
fn end_of(result: &Result<Report>, began: bool, lost: bool) -> End {
    match result {
        Ok(_) => End::Finished,
        Err(Error::Suspended(name)) => End::Suspended(name.clone()),
        Err(Error::Cancelled) => End::Cancelled,
        // a place of checkpoints that does not serve from the beginning will not either
        Err(error) => {
            let again = may_pass(error) && (began || !matches!(error, Error::Checkpoint(_)));
            End::Failed { error: error.to_string(), again, what: if lost { Failing::Agent } else { Failing::Task } }
        }
    }
}

/// Whether another attempt may help. What a user wrote wrongly stays wrong.
pub(super) fn may_pass(error: &Error) -> bool {
    !matches!(error, Error::Usage(_) | Error::Plan(_) | Error::Schema { .. })
}
