//! Where data leaves: the contract that connectors fulfil and the runtime drives.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::TwoPhase;
use crate::{Error, Result};

/// What a sink learns of the changes that it gets.
#[derive(Clone, Copy, Debug)]
pub struct Changing<'a> {
    /// The columns by which rows that count differ; none if the plan does not know any.
    pub keys: &'a [String],
    /// Whether the rows end.
    pub ends: bool,
}

/// A sink, opened for one job. Batches arrive dense and in source order on one instance.
///
/// A sink shows nothing until [`commit`](Self::commit): files are written beside their target and renamed. In a job that
/// keeps checkpoints, a [`TwoPhase`] sink shows its rows with each of them.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use arrow_array::RecordBatch;
/// use arrow_schema::SchemaRef;
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone, Debug)]
/// struct Number { n: i64 }
///
/// pipeline! {
///     /// All of them.
///     pub fn large(numbers: Source<Number>);
///     large = numbers -> filter(|x| x.n > 1);
///     large -> sink;
/// }
///
/// /// Counts rows, and shows the count on commit.
/// struct Count { rows: usize, shown: Arc<Mutex<usize>> }
///
/// impl sabot::operator::Sink for Count {
///     fn open(&mut self, _schema: &SchemaRef) -> Result<()> { Ok(()) }
///     fn write(&mut self, batch: &RecordBatch) -> Result<()> { self.rows += batch.num_rows(); Ok(()) }
///     fn commit(&mut self) -> Result<()> { *self.shown.lock().unwrap() = self.rows; Ok(()) }
///     fn abort(&mut self) { self.rows = 0 }
///     fn describe(&self) -> String { "a count".into() }
/// }
///
/// # fn main() -> Result<()> {
/// let shown = Arc::new(Mutex::new(0));
/// let count = shown.clone();
/// let job = large((0..10).map(|n| Number { n }).collect::<Vec<_>>());
/// job.sink("large", Sink::custom(move || Ok(Count { rows: 0, shown: count.clone() }))).run()?;
/// assert_eq!(*shown.lock().unwrap(), 8);
/// # Ok(()) }
/// ```
pub trait Sink: Send {
    /// Tells that the rows may never end, in a job that keeps no checkpoints: a sink that can had better show them as they come. Called
    /// before [`open`](Self::open), if at all.
    fn endless(&mut self) {}
    /// Rows are taken back: each batch has, as its last column, the weight of each row ([`WEIGHT`](super::WEIGHT)): 1 adds it, -1 takes
    /// back one that was added. Called before [`open`](Self::open), whose schema has that column too; not called if rows only come.
    ///
    /// Changes of one row come in order, its +1 before its -1; those of rows with equal keys do too. So a sink that keeps one row per
    /// key may delete it at -1 and write it at 1, or write the last one of a batch alone; a -1 of a row that is not the one stored
    /// means nothing. [`weights`](super::weights) and [`without_weights`](super::without_weights) take a batch apart.
    ///
    /// # Errors
    /// If the sink can only add rows: what it says unless it overrides this.
    fn changes(&mut self, _changing: Changing<'_>) -> Result<()> {
        Err(Error::Usage(format!(
            "{} cannot apply updates and retractions, but the stream produces them; add `changelog()` before the sink to store the changes as rows",
            self.describe()
        )))
    }
    /// Learns the columns. Called once, before any batch, also when no batch follows.
    ///
    /// # Errors
    /// If the sink cannot store these columns, or cannot open its target.
    fn open(&mut self, schema: &SchemaRef) -> Result<()>;
    /// Stores rows.
    ///
    /// # Errors
    /// If they cannot be written; the job ends and the target is untouched.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;
    /// All rows are written: make them visible, durably.
    ///
    /// # Errors
    /// If the target cannot be put in place.
    fn commit(&mut self) -> Result<()>;
    /// The job failed or was cancelled: remove what was staged.
    fn abort(&mut self);
    /// Whether a call that failed has stored nothing and may be repeated with the same rows. Transient errors of such a sink
    /// are tried again (`RunOptions::retries`).
    fn repeatable(&self) -> bool {
        false
    }
    /// The sink as one that takes part in checkpoints, if it does.
    fn two_phase(&mut self) -> Option<&mut dyn TwoPhase> {
        None
    }
    /// A name for messages.
    fn describe(&self) -> String;
}
