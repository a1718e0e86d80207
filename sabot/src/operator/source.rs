//! Where data enters: the contract that connectors fulfil and the runtime drives.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::{BadRow, EventTime};
use crate::Result;
use crate::kernel::{Predicate, Selection};

/// A source, opened for one job: it names its splits and opens readers on them.
///
/// Only sources know whether data ends. A bounded source has a known list of splits; an endless one has one endless
/// split per partition.
///
/// Example: a source of your own, in [`connect`](crate::connect).
pub trait Source: Send + Sync {
    /// The columns that the source delivers after [`project`](Self::project).
    fn schema(&self) -> SchemaRef;
    /// Asks the source to deliver these columns only, in this order. Called once, before any split is opened.
    ///
    /// # Errors
    /// If a column does not exist.
    fn project(&mut self, columns: &[String]) -> Result<()>;
    /// Tells the source that rows for which `predicate` is certainly not true are dropped by every step that reads them, so
    /// that it may leave them out: whole splits, or ranges of one, which its readers then report as
    /// [left out](SplitReader::take_left_out). All other rows must come, and splits keep their numbers. Called at most once,
    /// after [`project`](Self::project), before splits are listed.
    ///
    /// # Errors
    /// If the data cannot be read.
    fn leave_out(&mut self, _predicate: &Predicate) -> Result<()> {
        Ok(())
    }
    /// Tells the source that someone reads what is not a row, bad lines and messages: they do not end the job, and are not dropped; readers
    /// hand them over ([`SplitReader::take_bad`]). Called at most once, before splits are listed. A source that has none does nothing.
    ///
    /// # Errors
    /// If the source was told to drop them.
    fn give_bad(&mut self) -> Result<()> {
        Ok(())
    }
    /// Whether the data ends.
    fn bounded(&self) -> bool;
    /// The splits, in source order. Cut the same way whatever the thread count, so that results do not depend on it.
    ///
    /// # Errors
    /// If the data cannot be listed. A transient error is tried again when the job starts; later, when new splits are looked for, it waits for the next
    /// time.
    fn splits(&self) -> Result<Vec<Split>>;
    /// Opens a split at a position that was reported by [`SplitReader::position`], or at its start.
    ///
    /// # Errors
    /// If the data cannot be read.
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>>;
    /// How far a row's event time may lag behind that of earlier rows of its partition, in microseconds; `None` leaves
    /// it to the job's setting. Not asked of readers that give watermarks themselves.
    fn disorder(&self) -> Option<EventTime> {
        None
    }
    /// How often an endless source wants to be asked.
    fn pace(&self) -> Pace {
        Pace::default()
    }
    /// A split that has appeared after the job had begun, in this process or before: it is read from its start, wherever the source was told to
    /// begin.
    fn later(&self, split: Split) -> Split {
        split
    }
    /// Whether the same rows can be read again from a position. A source that cannot is refused in a job that keeps checkpoints.
    fn replays(&self) -> bool {
        true
    }
    /// Whether rows that were delivered can still be read later. Then a job that continues reads the last few again, and ends with an error if they
    /// are others. A log that deletes old rows says `false`.
    fn rereads(&self) -> bool {
        self.replays()
    }
    /// A name for messages: the file, or `memory`.
    fn describe(&self) -> String;
}

/// How often an endless source wants to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// How long after splits were listed they are listed again, to find new ones; `None` for never. Known splits must be listed with the same
    /// partition and sequence number, and may be left out once they have ended.
    pub list_again: Option<std::time::Duration>,
    /// How long a split that had nothing is left alone; `None` leaves it to the job's setting.
    pub ask_again: Option<std::time::Duration>,
}

/// A unit of reading: a row group, a byte range, a partition of a topic.
///
/// Example: a source of your own, in [`connect`](crate::connect).
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Split {
    /// The partition: an independent order. Bounded sources have one.
    pub partition: u32,
    /// Dense sequence number within the partition.
    pub sequence: u64,
    /// Rows, if known.
    pub rows: Option<u64>,
    /// Bytes to read, if known (for progress).
    pub bytes: Option<u64>,
    /// Whatever the source needs to find it again.
    pub spec: serde_json::Value,
}

/// Reads one split.
///
/// Example: a source of your own, in [`connect`](crate::connect).
pub trait SplitReader: Send {
    /// The next rows, at most `max_rows`; `None` at the end of the split. An endless reader that has nothing now
    /// returns [`Read::Idle`] or [`Read::Wait`].
    ///
    /// # Errors
    /// If the data is broken or unreadable. After a transient error (`RunOptions::retries`) this reader is dropped, and the split is opened anew, once, at
    /// the position that the reader had before this call. The job ends when that fails too often in a row. What ends the row: rows, [`Read::Idle`],
    /// [`Read::End`], rows that are counted as left out or failed, or a minute of [`Read::Wait`] without an error. A [`Read::Wait`] alone does not: a
    /// server that is away for good would else be tried for ever.
    fn next(&mut self, max_rows: usize) -> Result<Read>;
    /// The position after the last row returned: enough to continue here after a restart.
    fn position(&self) -> serde_json::Value;
    /// Rows that the reader left out since the last call, before the rows it returned: see [`Source::leave_out`]; or because the user does
    /// not want them.
    fn take_left_out(&mut self) -> u64 {
        0
    }
    /// Rows that the reader dropped under an error policy since the last call (bad lines).
    fn take_failed(&mut self) -> u64 {
        0
    }
    /// What was found to be no row since the last call, if the source was asked to [give it](Source::give_bad). Each counts as
    /// [failed](Self::take_failed) too.
    fn take_bad(&mut self) -> Vec<BadRow> {
        Vec::new()
    }
}

/// What a read gave.
///
/// Example: a source of your own, in [`connect`](crate::connect).
#[derive(Debug)]
pub enum Read {
    /// Rows, and the watermark that holds after them, if the source knows one.
    Rows(RecordBatch, Option<EventTime>),
    /// Rows of which only those selected are wanted, from a bounded source that was told to [leave out](Source::leave_out) the
    /// others: these count as left out, and what the batch holds in their place means nothing.
    Some(RecordBatch, Selection),
    /// Nothing now, and the reader vouches for it: it has asked, and all that there is was read. Ask again later. A partition that stays idle for
    /// `RunOptions::idle_after` no longer holds the watermark back; after a transient error, this is a success.
    Idle,
    /// Nothing yet, but rows are on their way, or nobody knows: a server is slow, or away. The partition is not idle, and holds the watermark back from
    /// now on if it was. After a transient error, it is not known yet whether things go well.
    Wait,
    /// The split ended.
    End,
}
