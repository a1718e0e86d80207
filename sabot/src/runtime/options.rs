//! How a job is run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a progress hook is told.
///
/// Example: [`RunOptions`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progressed {
    /// Rows read by all sources.
    pub rows: u64,
    /// Rows that all sources will read, if they know.
    pub total_rows: Option<u64>,
    /// Bytes of the splits that were read to their end, as far as sources know sizes.
    pub bytes: u64,
    /// Bytes that all sources will read, if they know.
    pub total_bytes: Option<u64>,
}

/// Called by workers now and then (at most every [`RunOptions::progress_every`]) and once at the end.
///
/// Example: [`RunOptions`].
pub type ProgressHook = Arc<dyn Fn(Progressed) + Send + Sync>;

/// How a job is run. The default fits: all cores, morsels of 16384 rows, no memory limit.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use sabot::prelude::*;
/// use sabot::runtime::Progressed;
///
/// #[derive(Record, Clone, Debug)]
/// struct Number { n: i64 }
///
/// pipeline! {
///     /// In descending order.
///     pub fn sorted(numbers: Source<Number, Bounded>);
///     sorted = numbers -> sort(desc(n));
///     sorted -> sink(to("blackhole:"));
/// }
///
/// # fn main() -> Result<()> {
/// let read = Arc::new(Mutex::new(0));
/// let told = read.clone();
/// let job = sorted((0..1000).map(|n| Number { n }).collect::<Vec<_>>()).options(|o| {
///     o.threads = 2;
///     o.memory_budget = Some(64 << 20); // spills beyond
///     o.progress = Some(Arc::new(move |now: Progressed| *told.lock().unwrap() = now.rows));
/// });
/// let report = job.run()?;
/// assert_eq!(*read.lock().unwrap(), 1000);
/// assert!(report.nodes.iter().all(|n| n.spilled == 0));
/// # Ok(()) }
/// ```
#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RunOptions {
    /// Worker threads, and instances of each parallel step; 0 for all cores.
    pub threads: usize,
    /// Rows that a source reads at once.
    pub morsel_rows: usize,
    /// A bounded job whose sources know that they have fewer rows runs with one instance, on the calling thread.
    pub bypass_rows: u64,
    /// About the bytes that the job may use, in operators and queues. Aggregates, joins and sorts that hold more spill to disk;
    /// if other steps do, the job ends with [`Error::Memory`](crate::Error::Memory). It does not cover what sources decode and
    /// sinks buffer.
    pub memory_budget: Option<usize>,
    /// The directory to spill into; by default the system's directory for temporary files. The job makes a directory of
    /// its own in it, and removes those of jobs whose process died.
    pub spill_dir: Option<PathBuf>,
    /// Keep the states of keyed steps on disk, in a directory of the job's own within this one, which goes with the job: for more state
    /// than fits into memory. Keys, timers and times to live stay in memory. Needs the feature `fjall`.
    pub state_dir: Option<PathBuf>,
    /// About the bytes of memory that keyed steps with a [`state_dir`](Self::state_dir) may use for states, all together: half for those
    /// that are decoded, half for the store's blocks and what it has not written yet, of which each instance of a step has at least 1 MiB.
    pub state_memory: usize,
    /// Bytes queued before one input of one instance until its producers wait; each producer gets its share.
    pub channel_bytes: usize,
    /// The same for an input that is put into source order. More than [`channel_bytes`](Self::channel_bytes), because
    /// instances that read later splits can only work ahead into this buffer.
    pub reorder_bytes: usize,
    /// Allow snapshots by [`Control`](super::Control). Sinks then keep all rows they received, since these are part of a checkpoint.
    /// Not needed with a [`checkpoint_dir`](Self::checkpoint_dir).
    pub checkpoints: bool,
    /// Keep checkpoints in this directory, which is made if missing and belongs to one job: the job continues from the newest
    /// one in it. [`TwoPhase`](crate::operator::TwoPhase) sinks show their rows with each checkpoint; the others keep theirs until the
    /// end of the job, so an endless job needs sinks of the first kind. With the features `aws`, `gcp`, `azure` it may be an address in an
    /// object store (`s3://bucket/ledger`), with `object-store` one in memory (`memory:///name`); there a process that starts takes the job
    /// over from one that runs.
    pub checkpoint_dir: Option<PathBuf>,
    /// The time from one checkpoint, or the start, to the beginning of the next. For [`checkpoint_dir`](Self::checkpoint_dir).
    pub checkpoint_every: Duration,
    /// How many checkpoints stay in [`checkpoint_dir`](Self::checkpoint_dir), the newest; at least one.
    pub checkpoint_keep: usize,
    /// Begin with this savepoint, a file or an address that is named by [`find_savepoint`](super::find_savepoint), in a
    /// [`checkpoint_dir`](Self::checkpoint_dir) without checkpoints that are later. The plan and its parameters may differ from those
    /// of the savepoint: steps are found by their ids, and [`check_savepoint`](super::check_savepoint) says what would become of each.
    /// Started again, the job goes on from the newest of its own checkpoints.
    pub from_savepoint: Option<PathBuf>,
    /// Let a savepoint be restored without the states of steps that are not there any more.
    pub allow_dropped_state: bool,
    /// What identifies the job, by name: checkpoints of a job of which one of these differs are refused. A
    /// [`Job`](crate::stream::Job) sets it.
    pub identity: BTreeMap<String, String>,
    /// How long a partition of an endless source may deliver nothing before it stops holding the watermark back.
    pub idle_after: Duration,
    /// How long an endless source that has nothing waits before it is asked again.
    pub poll_every: Duration,
    /// How often reading or writing is tried again after a transient error ([`Error::is_transient`](crate::Error::is_transient))
    /// until it ends the job; a success starts the count anew. Each time is an event of the report. Sinks are only asked
    /// again if they [allow it](crate::operator::Sink::repeatable).
    pub retries: u32,
    /// The wait before the first of these attempts; doubled for each further one, up to 30 seconds.
    pub retry_wait: Duration,
    /// Told about progress. Not part of the options as data.
    #[serde(skip)]
    pub progress: Option<ProgressHook>,
    /// The shortest time between two calls of [`progress`](Self::progress).
    pub progress_every: Duration,
}

impl RunOptions {
    /// Whether checkpoints may be taken.
    pub(crate) fn cuts(&self) -> bool {
        self.checkpoints || self.checkpoint_dir.is_some()
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            threads: 0,
            morsel_rows: 16_384,
            bypass_rows: 10_000,
            memory_budget: None,
            spill_dir: None,
            state_dir: None,
            state_memory: 256 << 20,
            channel_bytes: 16 << 20,
            reorder_bytes: 256 << 20,
            checkpoints: false,
            checkpoint_dir: None,
            checkpoint_every: Duration::from_secs(10),
            checkpoint_keep: 3,
            from_savepoint: None,
            allow_dropped_state: false,
            identity: BTreeMap::new(),
            idle_after: Duration::from_secs(5),
            poll_every: Duration::from_millis(5),
            retries: 3,
            retry_wait: Duration::from_millis(200),
            progress: None,
            progress_every: Duration::from_millis(50),
        }
    }
}

impl std::fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOptions").field("threads", &self.threads).field("morsel_rows", &self.morsel_rows).finish_non_exhaustive()
    }
}
