//! One run of a job, in memory, on a chosen executor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arrow_array::RecordBatch;

use super::processes::Processes;
use crate::connect::{Collected, MemorySink};
use crate::record::{Named, from_batch};
use crate::runtime::{Checkpoint, Control, NodeReport, Report, Simulated, Ticket};
use crate::stream::{Job, Sink};
use crate::{Error, Result};

/// How a job is tried.
/// ```
/// use sabot::prelude::*;
/// use sabot::testing::{Trial, same_rows, splits};
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Tick { n: i64 }
///
/// pipeline! {
///     /// Even numbers.
///     pub fn even(ticks: Source<Tick>);
///     even = ticks -> filter(|t| t.n % 2 == 0);
///     even -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let endless = || even(generate(1, |_, row| Tick { n: row as i64 }));
/// // crash, and go on from the last checkpoint that was complete
/// let ran = Trial::new().morsel_rows(2).seed(1).snapshot_at(60).crash_at(150).run(endless())?;
/// assert!(ran.crashed());
/// let ran = Trial::new().morsel_rows(2).seed(2).from(ran.checkpoint).stop_at(100).run(endless())?;
/// let rows: Vec<Tick> = ran.rows("even")?;
/// assert!(rows.iter().map(|t| t.n).eq((0..).step_by(2).take(rows.len())) && ran.late() == 0);
///
/// // rows in splits of three, on four threads
/// let ticks: Vec<Tick> = (0..10).map(|n| Tick { n }).collect();
/// let ran = Trial::new().threads(4).run(even(splits(&ticks, 3)))?;
/// same_rows(&ran.rows::<Tick>("even")?, &[0, 2, 4, 6, 8].map(|n| Tick { n }), 0.0)?;
/// assert_eq!(ran.batches("even")?.iter().map(|b| b.num_rows()).sum::<usize>(), 5);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Trial {
    threads: usize,
    shares: Option<usize>,
    morsel_rows: Option<usize>,
    seed: Option<u64>,
    stop: Option<u64>,
    crash: Option<u64>,
    snapshots: Vec<u64>,
    from: Option<Checkpoint>,
}

/// What a trial gave.
///
/// Example: [`Trial`].
#[derive(Debug)]
pub struct Ran {
    /// The batches of each open sink; none after a crash.
    batches: BTreeMap<String, Vec<RecordBatch>>,
    /// Rows and work; `None` after a crash.
    pub report: Option<Report>,
    /// The last checkpoint that was complete.
    pub checkpoint: Option<Checkpoint>,
    /// Steps that the simulated executor took.
    pub steps: u64,
}

impl Trial {
    /// On one thread, without a simulation.
    pub fn new() -> Self {
        Trial { threads: 1, ..Trial::default() }
    }
    /// With this many instances of each parallel step. Small jobs are not cut short to one.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Trial { threads, ..self }
    }
    /// As so many processes, each with a [share](crate::runtime::share) of the instances, between which everything is late. Needs a
    /// [seed](Self::seed).
    #[must_use]
    pub fn shares(self, shares: usize) -> Self {
        Trial { shares: Some(shares), ..self }
    }
    /// With morsels of this many rows.
    #[must_use]
    pub fn morsel_rows(self, rows: usize) -> Self {
        Trial { morsel_rows: Some(rows), ..self }
    }
    /// On the simulated executor: one thread, virtual time, every choice from this seed.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Trial { seed: Some(seed), ..self }
    }
    /// Stops the sources before this step of the simulation; the job drains and commits.
    #[must_use]
    pub fn stop_at(self, step: u64) -> Self {
        Trial { stop: Some(step), ..self }
    }
    /// Asks for a checkpoint before this step of the simulation. May be given several times.
    #[must_use]
    pub fn snapshot_at(mut self, step: u64) -> Self {
        self.snapshots.push(step);
        self
    }
    /// Stops dead before this step of the simulation: nothing is committed.
    #[must_use]
    pub fn crash_at(self, step: u64) -> Self {
        Trial { crash: Some(step), ..self }
    }
    /// Continues from a checkpoint.
    #[must_use]
    pub fn from(self, checkpoint: Option<Checkpoint>) -> Self {
        Trial { from: checkpoint, ..self }
    }

    /// Runs the job; its open sinks are collected.
    ///
    /// # Errors
    /// The job's own, and [`Error::Internal`] if the rows of a step are not all accounted for.
    pub fn run(self, job: Job) -> Result<Ran> {
        let mut collected: BTreeMap<String, Collected> = BTreeMap::new();
        let mut job = job;
        for name in job.open_sinks() {
            let (sink, rows) = MemorySink::new();
            let sink = Mutex::new(Some(sink));
            job = job.sink(
                &name,
                Sink::custom(move || {
                    let taken = sink.lock().ok().and_then(|mut s| s.take());
                    taken.ok_or_else(|| Error::usage("a job under trial runs once"))
                }),
            );
            collected.insert(name, rows);
        }
        let job = job.options(|o| {
            o.threads = self.threads;
            o.morsel_rows = self.morsel_rows.unwrap_or(o.morsel_rows);
            o.bypass_rows = 0;
            // a queue takes two morsels or so: backpressure shows in small data
            o.channel_bytes = if self.seed.is_some() { 4096 } else { o.channel_bytes };
            o.idle_after = if self.seed.is_some() { Duration::from_secs(3600) } else { o.idle_after };
            o.checkpoints = !self.snapshots.is_empty() || self.from.is_some();
        });
        let control = Control::new();
        let tickets: Arc<Mutex<Vec<Ticket>>> = Arc::default();
        let (result, steps) = match self.seed {
            Some(seed) if self.shares.is_some() => self.run_shares(seed, Arc::new(job), &tickets)?,
            Some(seed) => {
                let mut executor = Simulated::new(seed);
                if let Some(step) = self.stop {
                    let control = control.clone();
                    executor = executor.at(step, move || control.stop());
                }
                for step in &self.snapshots {
                    let (control, tickets) = (control.clone(), Arc::clone(&tickets));
                    executor = executor.at(*step, move || {
                        let ticket = control.request_snapshot();
                        if let Ok(mut tickets) = tickets.lock() {
                            tickets.push(ticket);
                        }
                    });
                }
                if let Some(step) = self.crash {
                    executor = executor.crash_at(step);
                }
                let executor = Arc::new(executor);
                let result = job.run_on(Arc::clone(&executor) as Arc<dyn crate::runtime::Executor>, &control, self.from.as_ref());
                (result, executor.steps())
            }
            None => match &self.from {
                Some(checkpoint) => (job.resume(&control, checkpoint), 0),
                None => (job.run_with(&control), 0),
            },
        };
        let mut checkpoint = self.from;
        for ticket in tickets.lock().map(|t| t.clone()).unwrap_or_default() {
            if let Some(Ok(complete)) = ticket.try_take() {
                checkpoint = Some(complete);
            }
        }
        let crashed = self.crash.is_some_and(|at| steps >= at);
        let report = match result {
            Ok(report) => Some(report),
            Err(Error::Internal(_)) if crashed => None,
            Err(e) => return Err(e),
        };
        if let Some(report) = &report {
            check(report)?;
        }
        let batches = collected.into_iter().map(|(n, c)| (n, c.batches().unwrap_or_default())).collect();
        Ok(Ran { batches, report, checkpoint, steps })
    }
}

impl Trial {
    /// As several processes.
    fn run_shares(&self, seed: u64, job: Arc<Job>, tickets: &Arc<Mutex<Vec<Ticket>>>) -> Result<(Result<Report>, u64)> {
        let shares = self.shares.unwrap_or(1).max(1);
        let processes: Arc<OnceLock<Arc<Processes>>> = Arc::default();
        let mut executor = Simulated::new(seed);
        let at = |processes: &Arc<OnceLock<Arc<Processes>>>, act: fn(&Arc<Processes>) -> Option<Ticket>| {
            let (processes, tickets) = (Arc::clone(processes), Arc::clone(tickets));
            move || {
                if let (Some(processes), Ok(mut tickets)) = (processes.get(), tickets.lock()) {
                    tickets.extend(act(processes));
                }
            }
        };
        if let Some(step) = self.stop {
            executor = executor.at(
                step,
                at(&processes, |c| {
                    c.lead.stop();
                    None
                }),
            );
        }
        for step in &self.snapshots {
            executor = executor.at(*step, at(&processes, |c| Some(c.lead.request_snapshot())));
        }
        if let Some(step) = self.crash {
            executor = executor.crash_at(step);
        }
        let executor = Arc::new(executor);
        let lead = |executor| job.lead_from(self.threads, executor, self.from.as_ref());
        let member = |executor, share, carrier, up| job.member(executor, share, carrier, up);
        let started = Processes::start(&executor, shares, lead, member)?;
        // Set once, here.
        let _ = processes.set(Arc::clone(&started));
        Ok((started.drive(), executor.steps()))
    }
}

/// Every row of every step is accounted for, and what a step let out is what the next ones took in.
pub(super) fn check(report: &Report) -> Result<()> {
    for node in &report.nodes {
        if !node.account.balanced() || node.account.held != 0 {
            return Err(Error::internal(format!("rows of `{}` are not accounted for: {:?}", node.name, node.account)));
        }
    }
    for node in report.nodes.iter().filter(|n| !n.inputs.is_empty()) {
        let sent = |n: &NodeReport| match node.side {
            true if n.inputs.is_empty() && !node.bad => n.account.late,
            true => n.account.failed + n.account.side,
            false => n.account.rows_out,
        };
        let sent: u64 = node.inputs.iter().map(|(from, copies)| report.nodes.get(*from).map_or(0, sent) * copies).sum();
        if node.account.rows_in != sent {
            return Err(Error::internal(format!("`{}` took {} rows, but its inputs let out {sent}", node.name, node.account.rows_in)));
        }
    }
    Ok(())
}

impl Ran {
    /// Whether it was stopped dead.
    pub fn crashed(&self) -> bool {
        self.report.is_none()
    }
    /// The rows of an open sink, in the order in which it got them.
    ///
    /// # Errors
    /// If there is no such sink, or its columns do not fit `T`.
    pub fn rows<T: Named>(&self, sink: &str) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        for batch in self.batches(sink)? {
            rows.extend(from_batch::<T>(batch, "the result")?);
        }
        Ok(rows)
    }
    /// The batches of an open sink.
    ///
    /// # Errors
    /// If there is no such sink.
    pub fn batches(&self, sink: &str) -> Result<&[RecordBatch]> {
        let names = || self.batches.keys().cloned().collect::<Vec<_>>().join(", ");
        self.batches
            .get(sink)
            .map(Vec::as_slice)
            .ok_or_else(|| Error::Usage(format!("there is no open sink `{sink}`; there are: {}", names())))
    }
    /// The batches of all open sinks, by name.
    pub fn sinks(&self) -> impl Iterator<Item = (&str, &[RecordBatch])> {
        self.batches.iter().map(|(name, batches)| (name.as_str(), batches.as_slice()))
    }
    /// Rows that were late, over all steps.
    pub fn late(&self) -> u64 {
        self.report.iter().flat_map(|r| &r.nodes).map(|n| n.account.late).sum()
    }
}
