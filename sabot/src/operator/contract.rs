//! The contract between the runtime and a physical operator.
//!
//! An operator is a value that turns morsels into morsels. It never blocks, sleeps, reads a clock, spawns, or holds a
//! lock across a call: the runtime owns time and threads, and calls one instance from one thread at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Frozen, GroupState};
use crate::kernel::{Morsel, Origin};
use crate::{Error, Result};

/// Event time in microseconds since the Unix epoch.
///
/// Example: [`Checkpoint`](crate::runtime::Checkpoint).
pub type EventTime = i64;

/// The watermark after the last row: no row follows.
///
/// ```
/// use sabot::operator::{END_OF_TIME, EventTime};
/// let today: EventTime = 1_700_000_000_000_000;
/// assert!(today < END_OF_TIME);
/// ```
pub const END_OF_TIME: EventTime = EventTime::MAX;

/// What a call of [`Operator::process`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The morsel is used up.
    Done,
    /// There is more output for the same morsel than `out` wants now: call [`Operator::resume`] when there is room.
    More,
}

/// What travels between rows and speaks about everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A split of a source ended.
    SplitEnd(Origin),
    /// No row before this event time follows.
    Watermark(EventTime),
    /// Nothing comes for now, and nobody shall wait for event time.
    Idle,
    /// Event time is to be waited for again, though nothing has come yet.
    Active,
    /// All rows that follow are the operator's own (see [`Operator::finish`]) and come in ascending order of their origins, none
    /// before this one. So an input in source order need not wait for the last of them.
    Ascending(Origin),
    /// The input ended.
    End,
}

/// Whether an operator still owes output for rows that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// It owes nothing.
    Nothing,
    /// It waits for the [`Outside`], which will wake it.
    Waits,
    /// It can go on: call [`Operator::poll`].
    Ready,
}

/// A future that runs beside the tasks. Dropping the flight ends it.
pub struct Flight(Option<Box<dyn FnOnce() + Send>>);

impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flight")
    }
}

impl Flight {
    /// A flight that `end` ends early.
    pub fn new(end: impl FnOnce() + Send + 'static) -> Self {
        Flight(Some(Box::new(end)))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

/// A piece of work that waits for something.
pub type Beside = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the runtime does for an operator that answers rows later, or has timers by the clock. Nothing here blocks.
pub trait Outside: Send + Sync {
    /// Runs a future beside the tasks; when it ends, the operator's task is woken.
    ///
    /// # Errors
    /// If nothing can run it.
    fn run(&self, future: Beside) -> Result<Flight>;
    /// Wakes the operator's task after this time.
    fn wake_after(&self, delay: Duration);
    /// Wakes the operator's task now; any thread may.
    fn wake(&self) {
        self.wake_after(Duration::ZERO);
    }
    /// The runtime's clock.
    fn now(&self) -> Duration;
    /// The time of day: since the Unix epoch.
    fn wall(&self) -> Duration;
}

/// A wait before [`Operator::resume`], and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// How long.
    pub wait: std::time::Duration,
    /// A sentence for the report.
    pub why: String,
}

/// Where an operator's output goes.
pub trait Output {
    /// Emits rows. Empty morsels are dropped.
    fn emit(&mut self, morsel: Morsel);
    /// Passes on a mark that the operator [held back](Operator::hold_back).
    fn pass(&mut self, mark: Mark);
    /// Emits rows to the second output: those that failed, or those that a keyed operator puts there. Their origins are kept.
    fn emit_failed(&mut self, morsel: Morsel);
    /// Whether the consumer wants no more for now; a well-behaved producer of many rows returns [`Progress::More`].
    fn full(&self) -> bool;
    /// Counts rows against this operator's account.
    fn account(&mut self, rows: Account);
    /// Tells the runtime that this operator needs no further input (a satisfied `limit`): sources may stop.
    fn satisfied(&mut self);
}

/// Which of the rows that were in flight at a checkpoint an instance goes on with.
pub trait Claim {
    /// The rows that are this instance's, in their order.
    ///
    /// # Errors
    /// If Arrow cannot take them apart.
    fn rows(&self, rows: Morsel) -> Result<Option<Morsel>>;
    /// Whether the instance passes on the end of this split, which some instance had [held back](Operator::hold_back).
    fn end(&self, split: Origin) -> bool;
}

/// The row account of an operator: rows in = used + filtered + late + failed + held.
///
/// ```
/// use sabot::operator::Account;
///
/// let mut account = Account { rows_in: 5, used: 3, filtered: 2, ..Account::default() };
/// assert!(account.balanced());
/// account.add(&Account { rows_in: 1, held: 1, ..Account::default() });
/// assert!(account.balanced() && account.rows_in == 6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Account {
    /// Rows received.
    pub rows_in: u64,
    /// Rows that reached an output or a state that has been emitted.
    pub used: u64,
    /// Rows that a predicate, or a satisfied `limit`, dropped.
    pub filtered: u64,
    /// Rows behind the watermark.
    pub late: u64,
    /// Rows on which user code failed and a policy dropped them.
    pub failed: u64,
    /// Rows still held in state. A change, so it may be negative when held rows become `used`.
    pub held: i64,
    /// Rows emitted.
    pub rows_out: u64,
    /// Rows of its own that a keyed operator emitted to its second output.
    #[serde(default)]
    pub side: u64,
    /// Keys whose state expired. Not rows.
    #[serde(default)]
    pub expired: u64,
}

impl Account {
    /// Adds another account to this one.
    pub fn add(&mut self, o: &Account) {
        self.rows_in += o.rows_in;
        self.used += o.used;
        self.filtered += o.filtered;
        self.late += o.late;
        self.failed += o.failed;
        self.held += o.held;
        self.rows_out += o.rows_out;
        self.side += o.side;
        self.expired += o.expired;
    }
    /// Whether nothing disappeared: rows in = used + filtered + late + failed + held.
    pub fn balanced(&self) -> bool {
        self.rows_in as i64 == (self.used + self.filtered + self.late + self.failed) as i64 + self.held
    }
}

/// A physical operator instance: one parallel instance of one plan node.
///
/// Stateless operators implement [`process`](Self::process) alone.
pub trait Operator: Send {
    /// Takes the rows of `morsel` that arrived on input `port`.
    ///
    /// # Errors
    /// An error ends the job.
    fn process(&mut self, port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress>;

    /// Continues after [`Progress::More`].
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    fn resume(&mut self, _out: &mut dyn Output) -> Result<Progress> {
        Ok(Progress::Done)
    }

    /// Asked after [`Progress::More`]: a wait before the next [`resume`](Self::resume), which the runtime takes care of.
    fn pause(&mut self) -> Option<Pause> {
        None
    }

    /// Whether the operator takes rows on `port` now. A hash join refuses its probe side until its build side ended.
    fn ready(&self, _port: usize) -> bool {
        true
    }

    /// Event time on `port` has reached `time`: no later row is before it. The runtime forwards the minimum over all
    /// ports downstream after this call, held back to [`hold`](Self::hold).
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    fn watermark(&mut self, _port: usize, _time: EventTime, _out: &mut dyn Output) -> Result<()> {
        Ok(())
    }

    /// Nothing comes for now, and those behind will not wait for this operator: rows that came in time, and that it would only pass on with a later
    /// watermark, must go now, else they are late there. [`Mark::Idle`] follows. Not for what a watermark decides, such as the result of a window.
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    fn idle(&mut self, _out: &mut dyn Output) -> Result<()> {
        Ok(())
    }

    /// The earliest event time this operator may still emit; the runtime forwards no later watermark.
    fn hold(&self) -> EventTime {
        END_OF_TIME
    }

    /// A split of a source ended: every row of it that this instance will see on `port` has been processed. Called in
    /// no particular order over splits.
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    fn split_end(&mut self, _port: usize, _origin: Origin, _out: &mut dyn Output) -> Result<()> {
        Ok(())
    }

    /// A consistent cut of the state for checkpoint `epoch`.
    ///
    /// # Errors
    /// If the state cannot be cut.
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        Ok(Frozen::empty())
    }

    /// As [`snapshot`](Self::snapshot), by a runtime that has stored the last cut of this instance: key groups that are as they were
    /// then may be named as [unchanged](super::Delta::unchanged) instead of written again. Before the first cut, "then" is when the
    /// instance was [restored](Self::restore). Each call of `snapshot` or of this one is the last cut for the next. An operator
    /// that does not know what has changed writes all: what comes out as the same bytes is not stored twice either. One that writes
    /// [layers](super::Layer) may put one on top of those of the last cut.
    ///
    /// # Errors
    /// As for [`snapshot`](Self::snapshot).
    fn snapshot_changes(&mut self, epoch: u64) -> Result<Frozen> {
        self.snapshot(epoch)
    }

    /// Loads the state of one key group, before any row.
    ///
    /// # Errors
    /// If the bytes were written by an incompatible operator.
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        if state.bytes.is_empty() { Ok(()) } else { Err(Error::Checkpoint("state for an operator that keeps none".into())) }
    }

    /// As [`restore`](Self::restore), in the stage of a bounded source: takes from the state what belongs to the splits for
    /// which `mine` is true, which this instance will go on reading. An operator whose state belongs to keys returns
    /// `false`, and gets the state of its key groups.
    ///
    /// # Errors
    /// As for [`restore`](Self::restore).
    fn restore_splits(&mut self, _state: &GroupState, _mine: &dyn Fn(Origin) -> bool) -> Result<bool> {
        Ok(false)
    }

    /// As [`restore`](Self::restore), for an operator whose state is [rows on their way](super::PhysicalNode::in_flight): it gets what each
    /// instance had, one after the other, and takes what it can claim.
    ///
    /// # Errors
    /// As for [`restore`](Self::restore).
    fn restore_rows(&mut self, state: &GroupState, _claim: &dyn Claim) -> Result<()> {
        self.restore(state)
    }

    /// Loads the layers that one instance has written, in the order in which they were, before any row: takes the rows of the key groups
    /// for which `mine` is true. Returns whether there were any.
    ///
    /// # Errors
    /// As for [`restore`](Self::restore).
    fn restore_layers(&mut self, _layers: &[&[u8]], _mine: &dyn Fn(u16) -> bool) -> Result<bool> {
        Err(Error::Checkpoint("layers of rows for an operator that keeps none".into()))
    }

    /// Gives up a key group that another instance takes over.
    fn release(&mut self, _group: u16) {}

    /// Input `port` ended. After the last port the operator emits what it still holds: rows of its own, of no split. If they are
    /// many and come in the order of their origins, it says so first ([`Mark::Ascending`]).
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    fn finish(&mut self, _port: usize, _out: &mut dyn Output) -> Result<Progress> {
        Ok(Progress::Done)
    }

    /// Before anything else, for an operator that answers rows later, or reads the clock: how it reaches the world outside.
    fn attach(&mut self, _outside: Arc<dyn Outside>) {}

    /// Whether output for rows that were taken is still to come. Only the first operator of a stage is asked, so a step
    /// that answers later is [kept apart](super::PhysicalNode::later) from its producer.
    fn pending(&self) -> Pending {
        Pending::Nothing
    }

    /// Emits what has come from outside.
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    fn poll(&mut self, _out: &mut dyn Output) -> Result<()> {
        Ok(())
    }

    /// No one wants output any more (a `limit` behind has its rows): what is owed may be dropped, counted as filtered. Like
    /// [`pending`](Self::pending), only for the first operator of a stage.
    fn unwanted(&mut self, _out: &mut dyn Output) {}

    /// Whether the operator holds a mark back that the runtime is about to pass on: then it [passes it on](Output::pass) itself,
    /// behind the rows that came before it. Barriers are not held back: rows that are not answered yet are part of the cut.
    fn hold_back(&mut self, _mark: Mark) -> bool {
        false
    }

    /// Bytes held in state, reported to the memory budget.
    fn held_bytes(&self) -> usize {
        0
    }

    /// The job has a memory budget: what the operator may use of it, and where it may spill. Called once, before anything
    /// else. An operator that cannot spill need not listen; what it holds may not exceed the budget.
    fn memory(&mut self, _memory: super::Memory) {}

    /// The job keeps keyed state on disk: where, and of how many instances this is one. Called once, before anything else. An operator
    /// that keeps its state in memory need not listen.
    ///
    /// # Errors
    /// If the disk refuses.
    fn state_on_disk(&mut self, _disk: &super::StateDisk, _instances: usize) -> Result<()> {
        Ok(())
    }

    /// How many of the [`held_bytes`](Self::held_bytes) the operator can [`spill`](Self::spill) now.
    fn spillable_bytes(&self) -> usize {
        0
    }

    /// The job is short of memory: moves state to disk. Called between two other calls, never in the middle of
    /// [`Progress::More`] unless the operator says that it has something to spill then.
    ///
    /// # Errors
    /// If the disk refuses.
    fn spill(&mut self) -> Result<()> {
        Ok(())
    }
}
