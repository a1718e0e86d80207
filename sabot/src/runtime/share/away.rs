//! A job that is a share: what it tells its lead, and does for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::lease::Lease;
use super::meter::Meter;
use super::{Carrier, FromShare, NodeMetrics, ToShare};
use crate::runtime::build::{INCOMING, OUTGOING};
use crate::runtime::job::Job;
use crate::runtime::retry::Retry;
use crate::runtime::settle::Publishers;
use crate::runtime::sink::SharedSink;
use crate::runtime::store::Store;
use crate::runtime::task::Task;
use crate::runtime::util::lock;
use crate::shuffle::{Host, Remote};
use crate::{Error, Result};

/// Tells the lead something; does not block.
pub(crate) type Up = Arc<dyn Fn(FromShare) + Send + Sync>;

pub(in crate::runtime) struct Away {
    pub(super) up: Up,
    /// The number of each task among those of all shares.
    pub(super) tasks: Vec<usize>,
    pub(super) carrier: Arc<dyn Carrier>,
    pub(super) links: (Vec<Remote>, Vec<Remote>),
    pub(in crate::runtime) store: Option<Store>,
    pub(in crate::runtime) sinks: Publishers,
    /// All sinks that are here.
    pub(super) all: HashMap<usize, SharedSink>,
    pub(super) lease: Arc<Lease>,
    pub(super) meter: Meter,
    /// Whether a look is due at whether nothing moves.
    pub(super) suspects: AtomicBool,
    pub(super) started: AtomicBool,
    pub(super) said: Mutex<Said>,
}

/// Events that a share tells in a minute; what more there is, it counts.
const EVENTS: usize = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// What a share has told in this minute.
#[derive(Default)]
pub(super) struct Said {
    since: Duration,
    events: usize,
}

impl Said {
    /// One more event happens. Whether it is told, and how many were not in the minute before.
    fn one(&mut self, now: Duration) -> (bool, usize) {
        let mut before = 0;
        if now.saturating_sub(self.since) >= MINUTE {
            before = self.left_out();
            *self = Said { since: now, events: 0 };
        }
        self.events += 1;
        (self.events <= EVENTS, before)
    }
    fn left_out(&self) -> usize {
        self.events.saturating_sub(EVENTS)
    }
}

impl Away {
    pub(in crate::runtime) fn tell(&self, message: FromShare) {
        (self.up)(message);
    }
    /// Tells what is worth a log line, as it happens.
    pub(in crate::runtime) fn say(&self, event: String, now: Duration) {
        let (told, left_out) = lock(&self.said).one(now);
        self.say_left_out(left_out);
        if told {
            self.tell(FromShare::Event(event));
        }
    }
    fn say_left_out(&self, events: usize) {
        if events > 0 {
            self.tell(FromShare::Event(format!("{events} more events were not told, as there were too many in a minute")));
        }
    }
    /// Tells what has not been told yet: the share ends.
    pub(super) fn say_last(&self, now: Duration) {
        self.store.iter().flat_map(|s| s.storage.told()).for_each(|event| self.say(event, now));
        let left_out = lock(&self.said).left_out();
        self.say_left_out(left_out);
    }
    /// The number of a task among those of all shares.
    pub(in crate::runtime) fn global(&self, task: usize) -> usize {
        self.tasks.get(task).copied().unwrap_or(usize::MAX)
    }
    /// Something for a task that is elsewhere.
    pub(in crate::runtime) fn wake(&self, task: usize) {
        if task >= INCOMING {
            self.carrier.room(task - INCOMING);
        } else if task >= OUTGOING {
            self.carrier.pushed(task - OUTGOING);
        }
    }
    /// A task has had a turn.
    pub(in crate::runtime) fn meter(&self, task: &Task, over: bool) {
        self.meter.turn(task, over);
    }
}

/// What carriers see of a share.
pub(super) struct ShareHost(pub(super) Weak<Job>);

impl Host for ShareHost {
    fn wake(&self, task: usize) {
        if let Some(job) = self.0.upgrade() {
            job.wake(task);
        }
    }
    fn failed(&self, error: Error) {
        if let Some(job) = self.0.upgrade() {
            job.fail_and_end(error);
        }
    }
}

impl Job {
    /// The lead says something.
    pub(super) fn on(self: &Arc<Self>, message: ToShare) {
        let Some(away) = self.away() else { return };
        match message {
            ToShare::Prepare => {}
            ToShare::Start => {
                // one that has failed meanwhile sends nothing
                if !away.started.load(SeqCst) {
                    away.carrier.begin();
                }
                self.start_once();
            }
            ToShare::Beat { number } => away.lease.answer(number),
            ToShare::Begin { epoch } => {
                self.epoch.fetch_max(epoch, SeqCst);
                self.wake_sources();
            }
            ToShare::Satisfied { node } => self.satisfied_there(node),
            ToShare::Publish { node, epoch, prepared } => {
                let publish = move |sink: &SharedSink| lock(sink).two_phase().map_or(Ok(()), |two| two.publish(&prepared));
                self.by_command(node, Arc::new(publish), FromShare::Published { node, epoch }, Retry::default(), Duration::ZERO);
            }
            ToShare::Commit { node } => {
                let commit = |sink: &SharedSink| lock(sink).commit();
                self.by_command(node, Arc::new(commit), FromShare::Committed { node }, Retry::default(), Duration::ZERO);
            }
            ToShare::Settled { .. } => away.store.iter().for_each(Store::tidy),
            ToShare::Wake => self.wake_all(),
            ToShare::Count { round } => away.tell(FromShare::Counted { round, counts: self.counts() }),
            ToShare::Relax => _ = self.relax(),
            ToShare::Stop => {
                self.control.stop();
                self.wake_sources();
            }
            ToShare::Abort(fault) => self.fail_and_end(fault.into()),
            ToShare::End => {
                if self.remaining.fetch_sub(1, SeqCst) == 1 {
                    self.end();
                }
            }
        }
    }
    fn start_once(self: &Arc<Self>) {
        if self.away().is_some_and(|away| !away.started.swap(true, SeqCst)) {
            self.start();
        }
    }
    /// Ends a share with an error, also before it was started.
    pub(super) fn fail_and_end(self: &Arc<Self>, error: Error) {
        self.fail(error);
        // tasks that have never had a turn count as about to have one
        self.start_once();
    }
    /// Has a sink do what all rows before allow; tells when it has. A share that may have been given up must not.
    fn by_command(
        self: &Arc<Self>,
        node: usize,
        call: Arc<dyn Fn(&SharedSink) -> Result<()> + Send + Sync>,
        done: FromShare,
        mut retry: Retry,
        wait: Duration,
    ) {
        let job = Arc::clone(self);
        let work = move || {
            let Some(away) = job.away() else { return Ok(()) };
            let sink = away.all.get(&node).ok_or_else(|| Error::internal("a sink is told to publish where it is not"))?;
            if !away.lease.holds(job.executor.now()) {
                return Err(unheard(away.lease.length()));
            }
            let Err(error) = call(sink) else {
                away.tell(done);
                return Ok(());
            };
            let (who, repeatable) = {
                let mut sink = lock(sink);
                (sink.describe(), sink.two_phase().is_some() || sink.repeatable())
            };
            if !repeatable {
                return Err(error);
            }
            let pause = retry.pause(&who, error, (job.options.retries, job.options.retry_wait))?;
            job.event(pause.why);
            job.by_command(node, call, done, retry, pause.wait);
            Ok(())
        };
        self.beside_after(wait, Box::new(work));
    }
    /// What the steps that are here do.
    pub(super) fn metrics(&self) -> Vec<NodeMetrics> {
        self.away().map(|away| away.meter.read(self)).unwrap_or_default()
    }
}

pub(super) fn unheard(lease: Duration) -> Error {
    let source = std::io::Error::from(std::io::ErrorKind::TimedOut);
    Error::io(
        "the lead of the job",
        format!("was not heard for {lease:?}, so this share of the job ends before another takes its place"),
        source,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_tells_so_many_events_in_a_minute() {
        let mut said = Said::default();
        let told = (0..EVENTS as u64 * 2).filter(|n| said.one(Duration::from_millis(*n)).0).count();
        assert_eq!((told, said.left_out()), (EVENTS, EVENTS));
        assert_eq!(said.one(MINUTE), (true, EVENTS));
        assert_eq!(said.one(MINUTE), (true, 0));
        // slowly, all are told
        assert!((0..1000).all(|n| said.one(MINUTE * (n + 2)) == (true, 0)));
    }
}
