//! What a job did: rows per step, work per thread.

use std::collections::VecDeque;
use std::time::Duration;

use super::Savepoint;
use crate::operator::Account;

/// One node of the plan.
///
/// Example: [`Report`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Stable id of the step.
    pub name: String,
    /// Its rows, summed over all instances. For a source, `rows_in` is what it read.
    pub account: Account,
    /// Bytes that it wrote to disk because memory was short.
    pub spilled: u64,
    /// For each input, the node it comes from (its number in [`Report::nodes`]) and how many instances each row goes to:
    /// `rows_in` is the sum of the inputs' `rows_out`, times that number.
    pub inputs: Vec<(usize, u64)>,
    /// Whether it reads the second output of its input: `rows_in` is then the input's `failed`, the source's `late`, or what a keyed
    /// operator sent aside, its `side`.
    pub side: bool,
    /// Whether the second output is what the source, its input, could not read: `rows_in` is then the source's `failed`.
    pub bad: bool,
}

/// One worker thread.
///
/// Example: [`Report`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WorkerReport {
    /// Turns that tasks had on this worker.
    pub turns: u64,
    /// Morsels taken into a stage.
    pub morsels: u64,
    /// Rows of these morsels.
    pub rows: u64,
    /// Time spent in tasks.
    pub busy: Duration,
}

/// The checkpoints that a job kept in [`RunOptions::checkpoint_dir`](super::RunOptions::checkpoint_dir).
///
/// Example: [`Report`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// The number of the checkpoint that the job continued from.
    pub restored: Option<u64>,
    /// How many were taken, the one at the end included.
    pub taken: u64,
    /// Bytes that were written for the last one.
    pub last_bytes: u64,
    /// Bytes that were written for all of them.
    pub bytes: u64,
    /// Bytes of states that were not written because a checkpoint before holds them, over all of them.
    pub reused: u64,
    /// From the request of a checkpoint until its sinks had published, over all of them.
    pub time: Duration,
    /// The longest of these.
    pub longest: Duration,
    /// The longest time that an input waited for a barrier on all of its channels.
    pub aligned: Duration,
    /// The last of them, [`RECENT`](Self::RECENT) at most, oldest first.
    pub recent: VecDeque<CheckpointTaken>,
    /// The savepoints that were made, oldest first.
    pub savepoints: Vec<Savepoint>,
}

/// One checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointTaken {
    /// Its number.
    pub epoch: u64,
    /// Bytes that were written for it.
    pub written: u64,
    /// Bytes of its states that a checkpoint before holds.
    pub reused: u64,
    /// The longest time that an input waited for its barrier on all of its channels.
    pub aligned: Duration,
    /// From the request until its sinks had published.
    pub time: Duration,
}

impl CheckpointReport {
    /// How many [`recent`](Self::recent) checkpoints are kept.
    pub const RECENT: usize = 100;

    /// One more was taken.
    pub(super) fn add(&mut self, one: CheckpointTaken) {
        self.taken += 1;
        self.last_bytes = one.written;
        self.bytes += one.written;
        self.reused += one.reused;
        self.time += one.time;
        self.longest = self.longest.max(one.time);
        self.aligned = self.aligned.max(one.aligned);
        if self.recent.len() == Self::RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(one);
    }
}

/// What a finished job did.
///
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone, Debug)]
/// struct Number { n: i64 }
///
/// pipeline! {
///     /// The even ones.
///     pub fn evens(numbers: Source<Number, Bounded>);
///     evens = numbers -> filter(|x| x.n % 2 == 0);
///     evens -> sink(to("blackhole:"));
/// }
///
/// # fn main() -> Result<()> {
/// let report = evens((0..10).map(|n| Number { n }).collect::<Vec<_>>()).run()?;
/// let run = report.nodes.iter().find(|n| n.name == "evens/evens/run").map(|n| n.account);
/// assert_eq!(run.map(|a| (a.rows_in, a.used, a.filtered)), Some((10, 5, 5)));
/// assert!(report.bypassed && report.workers.len() == 1 && report.checkpoints.taken == 0);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// In the order of the plan's nodes.
    pub nodes: Vec<NodeReport>,
    /// In the order of the executor's workers.
    pub workers: Vec<WorkerReport>,
    /// Time from start to commit.
    pub wall: Duration,
    /// Whether the job was small enough to run on the calling thread.
    pub bypassed: bool,
    /// The most bytes that any one channel between two tasks held.
    pub peak_channel_bytes: usize,
    /// The checkpoints that were kept in a directory.
    pub checkpoints: CheckpointReport,
    /// Things worth a log line: partitions that fell idle, queues that were let grow to end a standstill.
    pub events: Vec<String>,
}
