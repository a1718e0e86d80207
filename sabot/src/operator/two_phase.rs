//! Sinks that show rows before the job ends: they prepare them with each checkpoint, and publish them once it is durable.
//!
//! The order for checkpoint n is: every sink prepares n; the checkpoint, with what they returned, becomes durable; every
//! sink publishes n. A process may die between any two of these. The next one continues from the newest durable
//! checkpoint: the sink drops what was staged later, and publishes what that checkpoint holds, which may have happened
//! before. So every row is shown once. (Two-phase commit with the checkpoint as the coordinator's log, as in Apache
//! Flink's sinks.)

use crate::Result;

/// What a sink has stored durably but does not show yet, as small data that is kept in a checkpoint.
///
/// Example: [`TwoPhase`].
pub type Prepared = serde_json::Value;

/// The slow half of preparing, done beside the job: write out, sync.
///
/// Example: [`TwoPhase`].
pub struct Preparing(Box<dyn FnOnce() -> Result<Prepared> + Send>);

impl std::fmt::Debug for Preparing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Preparing(..)")
    }
}

impl Preparing {
    /// What `finish` makes durable.
    pub fn new(finish: impl FnOnce() -> Result<Prepared> + Send + 'static) -> Self {
        Preparing(Box::new(finish))
    }
    /// Makes it durable.
    ///
    /// # Errors
    /// If it cannot be; the job ends, and what was staged is dropped by the next process.
    pub fn finish(self) -> Result<Prepared> {
        (self.0)()
    }
}

/// How a sink begins in a job that keeps checkpoints.
///
/// Example: [`TwoPhase`].
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    /// Larger than that of every process that ran the job before. It belongs into the names of what is staged, so that a
    /// process that was believed dead cannot spoil it.
    pub generation: u64,
    /// Whether no process that ran the job before writes any more, also where one hangs: a lock that it still holds need not be waited for.
    pub fenced: bool,
    /// What the checkpoint holds of this sink, if the job continues from one.
    pub from: Option<&'a Prepared>,
    /// Whether the job begins with a savepoint. What it holds of this sink was published with it, and is not published again; the
    /// sink may have been given another place since, where nothing of it is.
    pub savepoint: bool,
}

/// A [`Sink`](super::Sink) that takes part in checkpoints. Those that do not are given all their rows again when a job continues, and
/// show nothing before its end.
///
/// The calls are `begin`, then `publish` if there is something to continue from, then [`Sink::open`](super::Sink::open). What is written
/// between two calls of `prepare` belongs to the second one. [`Sink::commit`](super::Sink::commit) is not called.
///
/// A sink into a table of this process; in a database, `staged` would be a table of its own, and `publish` a transaction that
/// moves rows and notes the epoch:
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use arrow_array::RecordBatch;
/// use arrow_schema::SchemaRef;
/// use sabot::Result;
/// use sabot::operator::{Beginning, Prepared, Preparing, Sink, TwoPhase};
///
/// #[derive(Default)]
/// struct Table { staged: Vec<(u64, RecordBatch)>, shown: Vec<RecordBatch> }
///
/// struct TableSink { table: Arc<Mutex<Table>>, written: Vec<RecordBatch> }
///
/// impl Sink for TableSink {
///     fn open(&mut self, _schema: &SchemaRef) -> Result<()> { Ok(()) }
///     fn write(&mut self, batch: &RecordBatch) -> Result<()> { self.written.push(batch.clone()); Ok(()) }
///     fn commit(&mut self) -> Result<()> { self.table.lock().unwrap().shown.append(&mut self.written); Ok(()) }
///     fn abort(&mut self) { self.written.clear() }
///     fn two_phase(&mut self) -> Option<&mut dyn TwoPhase> { Some(self) }
///     fn describe(&self) -> String { "a table".into() }
/// }
///
/// impl TwoPhase for TableSink {
///     fn begin(&mut self, beginning: Beginning<'_>) -> Result<()> {
///         let epoch = beginning.from.and_then(|p| p.as_u64());
///         self.table.lock().unwrap().staged.retain(|(e, _)| Some(*e) == epoch);
///         Ok(())
///     }
///     fn prepare(&mut self, epoch: u64, _last: bool) -> Result<Preparing> {
///         let (table, rows) = (self.table.clone(), std::mem::take(&mut self.written));
///         Ok(Preparing::new(move || {
///             table.lock().unwrap().staged.extend(rows.into_iter().map(|r| (epoch, r)));
///             Ok(epoch.into())
///         }))
///     }
///     fn publish(&mut self, prepared: &Prepared) -> Result<()> {
///         let mut table = self.table.lock().unwrap();
///         let (now, later) = std::mem::take(&mut table.staged).into_iter().partition(|(e, _)| prepared == e);
///         table.staged = later;
///         let now: Vec<_> = now;
///         table.shown.extend(now.into_iter().map(|(_, rows)| rows));
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let table = Arc::new(Mutex::new(Table::default()));
/// let mut sink = TableSink { table: table.clone(), written: Vec::new() };
/// let column: arrow_array::ArrayRef = Arc::new(arrow_array::Int64Array::from(vec![1, 2]));
/// sink.write(&RecordBatch::try_from_iter([("n", column)])?)?;
/// let prepared = sink.prepare(1, false)?.finish()?;
/// assert!(table.lock().unwrap().shown.is_empty());
/// sink.publish(&prepared)?;
/// sink.publish(&prepared)?;
/// assert_eq!(table.lock().unwrap().shown.len(), 1);
/// # Ok(()) }
/// ```
pub trait TwoPhase {
    /// Before anything else: finds what dead processes left, and drops what they staged after [`Beginning::from`]. Called again after a transient
    /// error.
    ///
    /// # Errors
    /// If another process writes to the same place, or it is not what the checkpoint tells.
    fn begin(&mut self, beginning: Beginning<'_>) -> Result<()>;
    /// Everything written so far belongs to checkpoint `epoch`: cuts it off from what follows. At the end of the rows (`last`)
    /// nothing follows.
    ///
    /// # Errors
    /// If it cannot be stored.
    fn prepare(&mut self, epoch: u64, last: bool) -> Result<Preparing>;
    /// Shows what was prepared. Called again with the same value after an error, in another process too: what was published
    /// stays as it is. Always safe to repeat, so transient errors are tried again.
    ///
    /// # Errors
    /// If it cannot be shown now.
    fn publish(&mut self, prepared: &Prepared) -> Result<()>;
}
