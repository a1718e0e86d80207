//! A stream under the hand of a test: feed, move the clock, look, crash, go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::feed::Feed;
use super::tap::Tap;
use super::trial::check;
use crate::record::{Named, from_batch};
use crate::runtime::{Checkpoint, Control, Executor, Pace, Report, Simulated};
use crate::stream::{Job, Sink};
use crate::{Error, Result};

/// How often, in virtual time, sources look for rows.
const POLL: Duration = Duration::from_millis(1);
/// How often a source may look without reading what it was fed.
const PATIENCE: u32 = 100;

/// Runs a job step by step on a virtual clock.
///
/// Nothing happens by itself: the job works while it is fed and while the clock moves, each time until nothing is left to do, and
/// stands still in between. The clock starts at zero; feeding moves it by some milliseconds. All open sinks can be looked at.
///
/// ```
/// use std::time::Duration;
/// use sabot::prelude::*;
/// use sabot::testing::{Driver, Feed};
///
/// #[derive(Record, Clone, Debug)]
/// struct Reading { sensor: i64, #[event_time] at: Timestamp<Micros> }
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Minute { sensor: i64, readings: u64 }
///
/// pipeline! {
///     /// Readings per minute.
///     pub fn minutes(readings: Source<Reading>);
///     minutes = readings -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|r| row { readings: count() });
///     minutes -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let at = |s: i64| Reading { sensor: 1, at: Timestamp::new(s * 1_000_000) };
/// let readings = Feed::new(2).disorder(5.sec());
/// let mut driver = Driver::start(minutes(readings.source()))?;
/// driver.feed(&readings, 0, [at(10), at(20), at(70)])?;
/// assert!(driver.take::<Minute>("minutes")?.is_empty(), "partition 1 may still have rows of the first minute");
/// driver.feed(&readings, 1, [at(66)])?;
/// assert_eq!(driver.take::<Minute>("minutes")?, [Minute { sensor: 1, readings: 2 }]);
///
/// // the second partition falls idle, and is not waited for any more
/// driver.advance(Duration::from_secs(10))?;
/// driver.feed(&readings, 0, [at(130)])?;
/// assert_eq!(driver.take::<Minute>("minutes")?, [Minute { sensor: 1, readings: 2 }]);
///
/// // what came after a checkpoint is forgotten in a crash, and read again
/// let checkpoint = driver.checkpoint()?;
/// driver.feed(&readings, 0, [at(140)])?;
/// driver.crash();
/// driver.resume(&checkpoint, 2)?;
/// let report = driver.finish()?;
/// assert_eq!(driver.rows::<Minute>("minutes")?.iter().map(|m| m.readings).sum::<u64>(), 6);
/// assert_eq!(report.nodes.iter().map(|n| n.account.late).sum::<u64>(), 0);
/// # Ok(()) }
/// ```
pub struct Driver {
    job: Arc<Job>,
    seed: u64,
    taps: BTreeMap<String, Tap>,
    /// Rows of each sink that [`take`](Self::take) has given.
    taken: BTreeMap<String, usize>,
    /// Rows of each sink when a checkpoint was taken, by its epoch.
    cuts: BTreeMap<u64, BTreeMap<String, usize>>,
    pace: Pace,
    control: Control,
    thread: Option<JoinHandle<Result<Report>>>,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("job", &self.job).field("now", &self.pace.now()).finish_non_exhaustive()
    }
}

impl Driver {
    /// Starts a job. It has as many instances of each parallel step as [`Job::parallel`] says, one if it says nothing.
    ///
    /// # Errors
    /// If a source or sink is not bound, or the job does not start.
    pub fn start(job: Job) -> Result<Self> {
        Self::seeded(job, 0)
    }
    /// As [`start`](Self::start); the order in which tasks run follows from the seed.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn seeded(mut job: Job, seed: u64) -> Result<Self> {
        let mut taps: BTreeMap<String, Tap> = BTreeMap::new();
        for name in job.open_sinks() {
            let tap = Tap::default();
            taps.insert(name.clone(), tap.clone());
            job = job.sink(&name, Sink::custom(move || Ok(tap.clone())));
        }
        let job = job.options(|o| {
            o.threads = o.threads.max(1);
            o.bypass_rows = 0;
            o.checkpoints = o.checkpoint_dir.is_none();
            o.poll_every = POLL;
        });
        let (pace, control) = (Pace::default(), Control::new());
        let mut driver =
            Driver { job: Arc::new(job), seed, taps, taken: BTreeMap::new(), cuts: BTreeMap::new(), pace, control, thread: None };
        driver.launch(None, Duration::ZERO)?;
        Ok(driver)
    }
    fn launch(&mut self, from: Option<Checkpoint>, now: Duration) -> Result<()> {
        let (executor, pace) = Simulated::paced(self.seed);
        let control = Control::new();
        (self.pace, self.control) = (pace.clone(), control.clone());
        let (job, executor) = (Arc::clone(&self.job), Arc::new(executor) as Arc<dyn Executor>);
        let run = move || {
            let ended = End(pace);
            let result = job.run_on(executor, &control, from.as_ref());
            drop(ended);
            result
        };
        let thread = std::thread::Builder::new().name("sabot-driver".into()).spawn(run);
        self.thread = Some(thread.map_err(|e| Error::Usage(format!("the system refuses a thread for the test: {e}")))?);
        self.run_until(now)
    }
    fn run_until(&mut self, time: Duration) -> Result<()> {
        if self.thread.is_none() {
            return Err(Error::usage("the job of this driver is over; `resume` it from a checkpoint, or start another"));
        }
        if self.pace.run_until(time) {
            return Ok(());
        }
        // a job of sources that end may be done by now
        self.join().map(|_| ())
    }
    fn join(&mut self) -> Result<Report> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::internal("the thread of a job panicked")),
            None => Err(Error::usage("the job of this driver is over")),
        }
    }

    /// Gives rows to a partition of a source, and lets the job work until nothing is left to do. Rows that a step refuses for now
    /// (a join that waits for its other side) stay in the source.
    ///
    /// # Errors
    /// The job's, if it fails; if the feed has no such partition.
    pub fn feed<R: Named>(&mut self, feed: &Feed<R>, partition: u32, rows: impl Into<Vec<R>>) -> Result<()> {
        feed.push(partition, &rows.into())?;
        for _ in 0..PATIENCE {
            self.run_until(self.pace.now() + POLL)?;
            if feed.is_read() {
                break;
            }
        }
        self.run_until(self.pace.now())
    }
    /// Moves the clock; timers that are due on the way fire in their order.
    ///
    /// # Errors
    /// The job's, if it fails.
    pub fn advance(&mut self, time: Duration) -> Result<()> {
        self.run_until(self.pace.now() + time)
    }
    /// The rows of an open sink so far; of a stream of changes those that are left.
    ///
    /// # Errors
    /// If there is no such sink, or its columns do not fit `T`.
    pub fn rows<T: Named>(&self, sink: &str) -> Result<Vec<T>> {
        let Some(tap) = self.taps.get(sink) else {
            let known: Vec<&str> = self.taps.keys().map(String::as_str).collect();
            return Err(Error::Usage(crate::words::unknown("there is no open sink", sink, "there are", &known)));
        };
        let mut rows = Vec::new();
        for batch in tap.batches()? {
            rows.extend(from_batch::<T>(&batch, "the result")?);
        }
        Ok(rows)
    }
    /// The rows of an open sink that came since this was last called.
    ///
    /// # Errors
    /// As for [`rows`](Self::rows); if its rows are taken back: there is no telling which are new, so look at all of them.
    pub fn take<T: Named>(&mut self, sink: &str) -> Result<Vec<T>> {
        let mut rows = self.rows(sink)?;
        if self.taps.get(sink).is_some_and(Tap::changes) {
            return Err(Error::Usage(format!("the rows of `{sink}` are taken back and sent again: `rows` gives those that are left")));
        }
        let taken = self.taken.entry(sink.to_owned()).or_default();
        let new = rows.split_off((*taken).min(rows.len()));
        *taken += new.len();
        Ok(new)
    }
    /// Takes a checkpoint.
    ///
    /// # Errors
    /// If it does not come about.
    pub fn checkpoint(&mut self) -> Result<Checkpoint> {
        let ticket = self.control.request_snapshot();
        for _ in 0..PATIENCE {
            self.run_until(self.pace.now() + POLL)?;
            if let Some(result) = ticket.try_take() {
                let checkpoint = result?;
                // the job stood still before, so nothing has come since the cut
                self.cuts.insert(checkpoint.epoch, self.taps.iter().map(|(name, tap)| (name.clone(), tap.rows())).collect());
                return Ok(checkpoint);
            }
        }
        Err(Error::Checkpoint("the job does not complete it while nothing comes in: a step waits for rows".into()))
    }
    /// The process dies: the job stops dead, and tells nothing to anyone.
    pub fn crash(&mut self) {
        self.pace.kill();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
    /// Starts the job again, from a checkpoint, with this many instances of each parallel step; ends it before, if it still runs. Sources go
    /// back to where they were. Rows that sinks had got before the checkpoint count as taken.
    ///
    /// # Errors
    /// If the checkpoint does not belong to the job.
    pub fn resume(&mut self, checkpoint: &Checkpoint, threads: usize) -> Result<()> {
        let now = self.pace.now();
        self.crash();
        let job = Arc::get_mut(&mut self.job).ok_or_else(|| Error::internal("a job under test is still in use"))?;
        job.options.threads = threads.max(1);
        self.taken = self.cuts.get(&checkpoint.epoch).cloned().unwrap_or_default();
        self.launch(Some(checkpoint.clone()), now)
    }
    /// Ends the job: sources end where they are, time goes to its end, windows close, sinks commit. Every row of every step must be
    /// accounted for.
    ///
    /// # Errors
    /// The job's, and [`Error::Internal`] if rows are missing in the accounts.
    pub fn finish(&mut self) -> Result<Report> {
        self.control.stop();
        if self.thread.is_some() && self.pace.run_until(Duration::MAX) {
            self.crash();
            return Err(Error::internal("the job does not end although its sources have"));
        }
        let report = self.join()?;
        check(&report)?;
        Ok(report)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Tells the driver that the job is over, however it ended.
struct End(Pace);
impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}
