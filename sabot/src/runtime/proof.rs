//! Does a source give the same rows again? Looked at when a job continues.
//!
//! Idea: with each split that is being read a checkpoint notes where the reader stood before its last batch, and the number and the hash of
//! the batch's first rows, [`PROVED`] at most. A job that continues reads these rows again before it goes on. A file of the same length with
//! other lines, a generator with another seed, a query without an order: each would otherwise go on in rows that are not the ones that the
//! states were made from, and nothing would show it.
//!
//! Invariants: nothing that is read here reaches a step or a count; until a split is proved it stands in checkpoints where it stood, and the
//! instance tells no time. A source that may lose rows it has delivered says so ([`Source::rereads`]), and nothing is noted for it.
//!
//! Cost, in jobs with checkpoints only: the last batch of each split stays in memory; with each checkpoint the hash of at most 256 rows per split; at
//! the start, one more opening of each open split.

use std::time::Duration;

use arrow_array::RecordBatch;

use super::checkpoint::{OpenSplit, Proof};
use super::feed::Waiting;
use super::job::Job;
use crate::kernel::hash::{combine, hash_arrays, hash_bytes};
use crate::operator::{Read, Source, SplitReader};
use crate::{Error, Result};

/// Rows of a batch that are noted: 1.6 % of a full one.
const PROVED: usize = 256;

/// How often a reader is asked that has nothing yet.
pub(super) const ASK: Duration = Duration::from_millis(5);

/// What was read last of a split.
pub(super) enum Last {
    /// What the checkpoint has that the job goes on from; nothing if it cannot be read again.
    Noted(Option<Proof>),
    /// The first rows of a batch, and the position that they were read from.
    Rows(serde_json::Value, RecordBatch),
}

impl Last {
    /// A batch that was read from this position.
    pub(super) fn batch(position: &serde_json::Value, batch: &RecordBatch) -> Self {
        Last::Rows(position.clone(), batch.slice(0, batch.num_rows().min(PROVED)))
    }
    /// As a checkpoint notes it.
    pub(super) fn proof(&self) -> Option<Proof> {
        match self {
            Last::Noted(proof) => proof.clone(),
            Last::Rows(position, rows) => {
                Some(Proof { position: position.clone(), rows: rows.num_rows() as u64, columns: columns(rows), hash: hash(0, rows) })
            }
        }
    }
}

/// The names and types of the columns.
fn columns(batch: &RecordBatch) -> u64 {
    let name = |f: &std::sync::Arc<arrow_schema::Field>| format!("{}: {};", f.name(), f.data_type());
    hash_bytes(batch.schema_ref().fields().iter().map(name).collect::<String>().as_bytes())
}

/// The hash of rows behind others, however they are cut into batches. Columns of types that cannot be keys do not count.
fn hash(before: u64, batch: &RecordBatch) -> u64 {
    let (mut all, mut column) = (vec![0; batch.num_rows()], Vec::new());
    for array in batch.columns() {
        if hash_arrays(std::iter::once(array), batch.num_rows(), &mut column).is_ok() {
            all.iter_mut().zip(&column).for_each(|(all, one)| *all = combine(*all, *one));
        }
    }
    all.into_iter().fold(before, combine)
}

/// What comes of beginning with a split.
pub(super) enum Begun {
    Proving(Box<Proving>),
    /// Nothing is noted of it.
    Nothing(Waiting),
    /// It cannot be opened.
    Failed(Waiting, Error),
}

/// A split whose rows are being read again.
pub(super) struct Proving {
    pub(super) waiting: Waiting,
    proof: Proof,
    reader: Box<dyn SplitReader>,
    rows: u64,
    hash: u64,
    since: Option<Duration>,
}

impl Proving {
    /// Begins with a split.
    pub(super) fn begin(source: &dyn Source, waiting: Waiting) -> Begun {
        let proof = waiting.from.as_ref().and_then(|f| f.proof.clone()).filter(|_| source.rereads());
        let Some(proof) = proof else { return Begun::Nothing(waiting) };
        match source.open(&waiting.split, Some(&proof.position)) {
            Ok(reader) => Begun::Proving(Box::new(Proving { waiting, proof, reader, rows: 0, hash: 0, since: None })),
            Err(error) => Begun::Failed(waiting, error),
        }
    }
    /// Reads on. Whether it is over.
    ///
    /// # Errors
    /// If the rows are not the same, or cannot be read.
    pub(super) fn step(&mut self, source: &dyn Source, job: &Job) -> Result<bool> {
        while self.rows < self.proof.rows {
            let left = self.proof.rows - self.rows;
            match self.reader.next(usize::try_from(left).unwrap_or(PROVED))? {
                // A plan that is restored from a savepoint may read other columns, or leave other rows out.
                Read::Some(..) => return Ok(true),
                Read::Rows(batch, _) if columns(&batch) != self.proof.columns || self.reader.take_left_out() > 0 => return Ok(true),
                Read::Rows(batch, _) => {
                    let batch = batch.slice(0, batch.num_rows().min(usize::try_from(left).unwrap_or(PROVED)));
                    self.rows += batch.num_rows() as u64;
                    self.hash = hash(self.hash, &batch);
                    self.since = None;
                }
                Read::End => return Err(self.other(source)),
                // nobody knows whether they are still there
                Read::Wait => {
                    self.since = None;
                    return Ok(false);
                }
                Read::Idle => {
                    let now = job.executor.now();
                    let quiet = now.saturating_sub(*self.since.get_or_insert(now));
                    return if quiet > job.options.idle_after { Err(self.other(source)) } else { Ok(false) };
                }
            }
        }
        if self.hash == self.proof.hash { Ok(true) } else { Err(self.other(source)) }
    }
    fn other(&self, source: &dyn Source) -> Error {
        let (Proof { position, rows, .. }, split) = (&self.proof, &self.waiting.split);
        let found = if self.rows < *rows { format!("there are {}", self.rows) } else { "they are others now".to_owned() };
        Error::Checkpoint(format!(
            "{}, partition {}, split {}, position {position}: {rows} rows were read there before, and {found}. A job continues only over a source that gives the same rows again: put its input back, or begin anew in another directory of checkpoints",
            source.describe(),
            split.partition,
            split.sequence,
        ))
    }
    /// Where the split stands.
    pub(super) fn stands(&self) -> Option<OpenSplit> {
        self.waiting.from.clone()
    }
}
