//! The source side of a task: splits in, morsels out.
//!
//! Splits of a bounded source are in one queue, in source order; an instance that is done with one takes the next, so
//! fast instances read more. The partitions of an endless source are pinned to an instance each and read in turns.
//!
//! Time: each partition of an endless source has a watermark, from its reader or from its rows
//! ([`SourceTime`]), and rows behind it are late: they are marked out here, before any step sees them. A bounded source
//! tells no time: all its rows count, and its end is the end of time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::chain::{Chain, Signal};
use super::checkpoint::{OpenSplit, SourcePosition};
use super::discover::Discovery;
use super::drift::{PAUSE, Place};
use super::idle::Told;
use super::job::Job;
use super::late::{late_rows, where_late};
use super::proof::{ASK, Begun, Last, Proving};
use super::retry::Retry;
use super::task::Next;
use super::util::{at_mut, lock};
use crate::kernel::{Morsel, Origin};
use crate::operator::{EventTime, Read, Source, SourceTime, Split, SplitReader};
use crate::record::to_batch;
use crate::{Error, Result};

/// How long a source sleeps at most that has nothing: barriers wake it, but signs of an end may not.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// A split to read, and where to go on.
pub(super) struct Waiting {
    pub(super) split: Split,
    pub(super) from: Option<OpenSplit>,
}

/// The splits that no instance has taken yet.
pub(super) type SplitQueue = Arc<Mutex<VecDeque<Waiting>>>;

/// The splits of one instance: those it goes on with, the queue it takes others from, and who adds to it.
pub(super) type Splits = (VecDeque<Waiting>, SplitQueue, Option<Arc<Discovery>>);

pub(super) struct Feed {
    pub(super) node: usize,
    pub(super) source: Arc<dyn Source>,
    /// How rows tell time, if any step needs to know.
    told: Option<SourceTime>,
    /// Splits that this instance goes on with after a checkpoint.
    resumed: VecDeque<Waiting>,
    pub(super) queue: SplitQueue,
    discovery: Option<Arc<Discovery>>,
    /// Pinned partitions of an endless source; at most one split of a bounded one.
    open: Vec<Open>,
    done: Vec<(u32, u64)>,
    turn: usize,
    epoch: u64,
    time: EventTime,
    /// What those behind know of whether all partitions are idle.
    told_idle: Told,
    ended: bool,
    /// Of the first split in `resumed`, which could not be opened yet.
    opening: Retry,
    /// The split that was before it, whose rows are compared with those of the checkpoint.
    proving: Option<Box<Proving>>,
}

struct Open {
    split: Split,
    reader: Box<dyn SplitReader>,
    /// Where the reader was before it was last asked, and what came of asking.
    before: serde_json::Value,
    retry: Retry,
    row: u64,
    time: EventTime,
    /// The rows read last, as a job that continues will look for them.
    last: Last,
    quiet_since: Option<Duration>,
    idle: bool,
    /// How far it is beside the others, if rows tell time.
    place: Option<Place>,
    /// It had nothing, or waits for others: when to ask again.
    due: Duration,
}

impl Feed {
    pub(super) fn new(
        node: usize,
        source: Arc<dyn Source>,
        told: Option<SourceTime>,
        (resumed, queue, discovery): Splits,
        epoch: u64,
    ) -> Self {
        Feed {
            node,
            source,
            told,
            resumed,
            queue,
            discovery,
            open: Vec::new(),
            done: Vec::new(),
            turn: 0,
            epoch,
            time: EventTime::MIN,
            told_idle: Told::default(),
            ended: false,
            opening: Retry::default(),
            proving: None,
        }
    }
    /// The watermark that it has told.
    pub(super) fn time(&self) -> EventTime {
        self.time
    }
    /// Begins with a split: if rows were read from it, by reading some of them again.
    fn start(&mut self, waiting: Waiting, job: &Job) -> Result<()> {
        match Proving::begin(self.source.as_ref(), waiting) {
            Begun::Proving(proving) => self.proving = Some(proving),
            Begun::Nothing(waiting) => self.open(waiting, job)?,
            Begun::Failed(waiting, error) => self.put_back(waiting, error, job)?,
        }
        Ok(())
    }
    /// Goes on with the split that is being compared. Whether that is over.
    fn prove(&mut self, mut proving: Box<Proving>, job: &Job) -> Result<bool> {
        match proving.step(self.source.as_ref(), job) {
            Ok(true) => self.open(proving.waiting, job)?,
            Ok(false) => {
                self.proving = Some(proving);
                return Ok(false);
            }
            Err(error) => self.put_back(proving.waiting, error, job)?,
        }
        Ok(true)
    }
    fn put_back(&mut self, waiting: Waiting, error: Error, job: &Job) -> Result<()> {
        job.event(self.opening.until(job.executor.now(), &self.source.describe(), error, &job.options)?);
        self.resumed.push_front(waiting);
        Ok(())
    }
    /// Opens a split, or puts it back until a transient error may have passed.
    fn open(&mut self, waiting: Waiting, job: &Job) -> Result<()> {
        let position = waiting.from.as_ref().map(|f| &f.position);
        let reader = match self.source.open(&waiting.split, position) {
            Ok(reader) => reader,
            Err(error) => return self.put_back(waiting, error, job),
        };
        self.opening.over();
        let (row, time, proof) = waiting.from.map_or((0, None, None), |f| (f.row, f.time, f.proof));
        let (before, time) = (reader.position(), time.unwrap_or(EventTime::MIN));
        let place = self.told.as_ref().filter(|_| !self.source.bounded()).map(|_| Place::new(&job.drift));
        self.open.push(Open {
            split: waiting.split,
            reader,
            before,
            retry: Retry::default(),
            row,
            time,
            last: Last::Noted(proof),
            quiet_since: None,
            idle: false,
            place,
            due: Duration::ZERO,
        });
        Ok(())
    }
    /// Where this instance stands.
    pub(super) fn position(&self, name: &str) -> SourcePosition {
        let open = |o: &Open| OpenSplit {
            partition: o.split.partition,
            sequence: o.split.sequence,
            row: o.row,
            position: if o.retry.pending() { o.before.clone() } else { o.reader.position() },
            time: (o.time > EventTime::MIN).then_some(o.time),
            proof: o.last.proof(),
        };
        // splits of a former run that this instance has not gone on with yet are where they were
        let proving = self.proving.iter().filter_map(|p| p.stands());
        let open = self.open.iter().map(open).chain(proving).chain(self.resumed.iter().filter_map(|w| w.from.clone()));
        SourcePosition { node: name.into(), done: self.done.clone(), open: open.collect() }
    }
    /// Reads the next rows and signals them to the chain.
    pub(super) fn next(&mut self, chain: &mut Chain, job: &Arc<Job>) -> Result<Next> {
        if job.sources_stop(self.node) {
            self.ended = true;
        }
        let bounded = self.source.bounded();
        // All partitions are begun before the first cut: one that a checkpoint does not name has appeared later.
        if !bounded {
            self.begin(job, true)?;
        }
        let begun = bounded || self.ended || self.resumed.iter().all(|w| w.from.is_some());
        if let Some(epoch) = job.epoch_after(self.epoch).filter(|_| begun) {
            self.epoch = epoch;
            chain.signal(0, Signal::Barrier(epoch));
            return Ok(Next::Barrier(epoch));
        }
        if bounded {
            self.begin(job, false)?;
        }
        let held = self.opening.left(job.executor.now()).or(self.proving.as_ref().map(|_| ASK));
        if let Some(wait) = held.filter(|_| !self.ended && self.open.is_empty()) {
            return Ok(Next::Sleep(wait));
        }
        if self.ended || (self.open.is_empty() && self.discovery.is_none()) {
            // A stopped reader stays open: its position belongs to checkpoints to come.
            self.ended = true;
            chain.signal(0, Signal::Finish);
            return Ok(Next::End);
        }
        if let Some(discovery) = &self.discovery {
            discovery.look(job);
        }
        for _ in 0..self.open.len() {
            self.turn = (self.turn + 1) % self.open.len();
            if let Some(next) = self.read(self.turn, chain, job)? {
                return Ok(next);
            }
        }
        if self.open.is_empty() && self.discovery.is_none() {
            return Ok(Next::Mark);
        }
        // one that cannot be opened yet is not known to be idle
        let idle = self.resumed.is_empty() && self.proving.is_none() && self.open.iter().all(|o| o.idle);
        let news = self.told_idle.news(idle);
        let told = news.is_some();
        // The stack runs the last signal first: the watermark, then idleness.
        news.into_iter().for_each(|news| chain.signal(0, news));
        if self.watermark(chain) || told {
            return Ok(Next::Mark);
        }
        let now = job.executor.now();
        let wait = |o: &Open| o.retry.left(now).unwrap_or_else(|| o.due.saturating_sub(now));
        let wait = self.open.iter().map(wait).min().unwrap_or(job.options.poll_every);
        // new splits are looked for, and barriers come, in the meantime
        Ok(Next::Sleep(wait.clamp(Duration::from_micros(100), LONGEST_SLEEP.max(job.options.poll_every))))
    }
    /// Opens splits: all of them, or one.
    fn begin(&mut self, job: &Job, all: bool) -> Result<()> {
        while !self.ended && (all || self.open.is_empty()) && self.opening.left(job.executor.now()).is_none() {
            if let Some(proving) = self.proving.take() {
                if !self.prove(proving, job)? {
                    break;
                }
                continue;
            }
            let Some(waiting) = self.resumed.pop_front().or_else(|| lock(&self.queue).pop_front()) else { break };
            self.start(waiting, job)?;
        }
        Ok(())
    }

    /// Reads one split once. `None`: nothing now.
    fn read(&mut self, index: usize, chain: &mut Chain, job: &Arc<Job>) -> Result<Option<Next>> {
        let now = job.executor.now();
        let Open { split, reader, before, retry, row, time, last, quiet_since, idle, place, due } = at_mut(&mut self.open, index)?;
        if retry.left(now).is_some() || *due > now {
            return Ok(None);
        }
        if place.as_mut().is_some_and(|p| p.ahead(now)) {
            *due = now + PAUSE;
            return Ok(None);
        }
        // after an error the reader may be anywhere: another one goes on where it was before
        let read = if retry.pending() {
            self.source.open(split, Some(before)).and_then(|anew| {
                *reader = anew;
                retry.trying(now);
                reader.next(job.options.morsel_rows)
            })
        } else {
            *before = reader.position();
            reader.next(job.options.morsel_rows)
        };
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                place.iter_mut().for_each(Place::quiet);
                job.event(retry.until(now, &self.source.describe(), error, &job.options)?);
                *quiet_since = None;
                awake(idle, self.source.as_ref(), split, job);
                return Ok(None);
            }
        };
        let (failed, bad, left_out) = (reader.take_failed(), reader.take_bad(), reader.take_left_out());
        // that nothing has come yet is no sign that it goes well
        if matches!(read, Read::Wait) && failed == 0 && left_out == 0 {
            retry.quiet(now);
        } else {
            retry.over();
        }
        chain.source_failed(failed);
        chain.source_left_out(left_out);
        *row += left_out;
        let origin = Origin { source: self.node as u32, partition: split.partition, split: split.sequence, row: *row };
        // The stack runs the last signal first: what was not read goes before the rest.
        let bad_rows = bad.len();
        let bad = (bad_rows > 0).then(|| Signal::Bad(Morsel::new(to_batch(&bad), origin)));
        let pause = || self.source.pace().ask_again.unwrap_or(job.options.poll_every);
        let (batch, watermark, wanted) = match read {
            Read::Rows(batch, watermark) => (batch, watermark, None),
            Read::Some(batch, wanted) => (batch, None, Some(wanted)),
            Read::Wait => {
                place.iter_mut().for_each(Place::quiet);
                *due = if bad_rows > 0 { now } else { now + pause() };
                *quiet_since = None;
                awake(idle, self.source.as_ref(), split, job);
                return Ok(hand_over(bad, chain).map(|()| Next::Rows(bad_rows)));
            }
            Read::Idle => {
                place.iter_mut().for_each(Place::quiet);
                *due = if bad_rows > 0 { now } else { now + pause() };
                let since = *quiet_since.get_or_insert(now);
                if !*idle && !self.source.bounded() && now.saturating_sub(since) >= job.options.idle_after {
                    *idle = true;
                    job.event(format!("{}: partition {} is idle", self.source.describe(), split.partition));
                }
                return Ok(hand_over(bad, chain).map(|()| Next::Rows(bad_rows)));
            }
            Read::End => {
                job.progress.split(split.bytes);
                self.done.push((split.partition, split.sequence));
                self.open.remove(index);
                if self.source.bounded() {
                    chain.signal(0, Signal::SplitEnd(origin, true));
                }
                hand_over(bad, chain);
                return Ok(Some(Next::Mark));
            }
        };
        *quiet_since = None;
        *idle = false;
        self.told_idle.stir();
        let rows = batch.num_rows();
        if job.options.cuts() && rows > 0 && self.source.rereads() {
            *last = if wanted.is_none() && left_out == 0 { Last::batch(before, &batch) } else { Last::Noted(None) };
        }
        *row += rows as u64;
        let began = *time;
        let late = match (&self.told, &wanted) {
            (Some(told), None) => late_rows(&batch, told, watermark, time)?,
            _ => Vec::new(),
        };
        *time = watermark.map_or(*time, |t| t.max(*time));
        place.iter_mut().for_each(|p| p.moved(began, *time));
        job.progress.read(rows as u64, job);
        chain.source_late(late.iter().filter(|l| **l).count() as u64);
        chain.source_left_out(wanted.as_ref().map_or(0, |w| rows.saturating_sub(w.count()) as u64));
        self.watermark(chain);
        // The stack runs the last signal first: rows, then their watermark.
        let size = job.options.morsel_rows;
        for start in (0..rows).step_by(size).rev() {
            let piece = if rows <= size { batch.clone() } else { batch.slice(start, size.min(rows - start)) };
            let late = late.get(start..rows.min(start + size)).filter(|l| l.contains(&true));
            let in_time = late.map(|l| where_late(l, false));
            let selection = wanted.as_ref().map(|w| w.slice(start, piece.num_rows())).or(in_time);
            let origin = Origin { row: origin.row + start as u64, ..origin };
            if let Some(late) = late.filter(|_| chain.reads_late()) {
                chain.signal(0, Signal::Late(Morsel { batch: piece.clone(), selection: Some(where_late(late, true)), origin }));
            }
            chain.signal(0, Signal::Rows(Morsel { batch: piece, selection, origin }));
        }
        hand_over(bad, chain);
        Ok(Some(Next::Rows(rows)))
    }

    /// Sends the minimum over the partitions that are not idle, if it has moved; if all are idle the maximum, which is what
    /// it would be had the furthest of them fallen idle last. Returns whether it moved.
    fn watermark(&mut self, chain: &mut Chain) -> bool {
        // a partition that was read before the checkpoint and not since holds time where it is
        if self.source.bounded() || self.proving.is_some() || !self.resumed.is_empty() {
            return false;
        }
        let active = self.open.iter().filter(|o| !o.idle).map(|o| o.time).min();
        let time = active.or_else(|| self.open.iter().map(|o| o.time).max());
        let Some(time) = time.filter(|t| *t > self.time) else { return false };
        self.time = time;
        chain.signal(0, Signal::Watermark(time));
        true
    }
}

/// It is not known whether a partition has rows: it holds time back, even if it was idle.
fn awake(idle: &mut bool, source: &dyn Source, split: &Split, job: &Job) {
    if std::mem::take(idle) {
        job.event(format!("{}: partition {} is not known to be idle any more, and is waited for", source.describe(), split.partition));
    }
}

/// Hands over what was not read, if there is something.
fn hand_over(bad: Option<Signal>, chain: &mut Chain) -> Option<()> {
    bad.map(|bad| chain.signal(0, bad))
}
