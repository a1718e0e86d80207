//! Rows from this process into a job, and back.

use std::marker::PhantomData;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;

use crate::connect::{ChannelSink, ChannelSource};
use crate::record::{Named, from_batch, schema_of, to_batch};
use crate::{Error, Result};

use super::{Sink, SinkBinding, Source, SourceBinding};

/// Rows that this process pushes into a job: what to push with, and the source, which ends when the last sender is dropped.
///
/// A send waits while `batches` sends have not been read. A job that keeps checkpoints refuses the source, since rows that were read cannot be read again.
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Tick { n: i64 }
///
/// pipeline! {
///     /// The even ones.
///     pub fn even(ticks: Source<Tick>);
///     even = ticks -> filter(|t| t.n % 2 == 0);
///     even -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let (ticks, source) = channel_in::<Tick>(16);
/// let (sink, rows) = channel_out::<Tick>(16);
/// let job = even(source).sink("even", sink).spawn();
/// ticks.send([Tick { n: 1 }, Tick { n: 2 }])?;
/// assert_eq!(rows.recv()?, Some(vec![Tick { n: 2 }]));
/// ticks.send([Tick { n: 4 }])?;
/// drop(ticks);
/// assert_eq!(rows.into_iter().collect::<Result<Vec<Tick>>>()?, [Tick { n: 4 }]);
/// job.wait()?;
/// # Ok(()) }
/// ```
pub fn channel_in<R: Named>(batches: usize) -> (RowSender<R>, Source<R>) {
    let (sender, source) = ChannelSource::new(Arc::new(schema_of::<R>()), batches);
    let source = once(source, "a channel is read by one job, once");
    let source = Source::bind(SourceBinding::Live(Arc::new(move || Ok(Box::new(source()?)))));
    (RowSender { sender, kind: PhantomData }, source)
}

/// Rows that a job hands to this process: the sink, and what to take them from, which ends with the job.
///
/// The job waits while `batches` batches have not been taken: take them while it [runs](super::Job::spawn). See [`channel_in`] for an example.
pub fn channel_out<R: Named>(batches: usize) -> (Sink, RowReceiver<R>) {
    let (sink, receiver) = ChannelSink::new(batches);
    let sink = once(sink, "a channel is written by one job, once");
    let binding = SinkBinding::Live(Arc::new(move || Ok(Box::new(sink()?))));
    (Sink::bound(binding), RowReceiver { receiver, kind: PhantomData })
}

/// Hands out a value once.
fn once<T>(value: T, otherwise: &'static str) -> impl Fn() -> Result<T> {
    let value = Mutex::new(Some(value));
    move || value.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(|| Error::usage(otherwise))
}

/// Pushes rows into a job: see [`channel_in`].
pub struct RowSender<R> {
    sender: SyncSender<RecordBatch>,
    kind: PhantomData<fn(R)>,
}
impl<R> Clone for RowSender<R> {
    fn clone(&self) -> Self {
        RowSender { sender: self.sender.clone(), kind: PhantomData }
    }
}
impl<R> std::fmt::Debug for RowSender<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowSender(..)")
    }
}
impl<R: Named> RowSender<R> {
    /// Sends rows as one batch; waits while the channel is full.
    ///
    /// # Errors
    /// If the job is over.
    pub fn send(&self, rows: impl IntoIterator<Item = R>) -> Result<()> {
        let rows: Vec<R> = rows.into_iter().collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.sender.send(to_batch(&rows)).map_err(|_| Error::usage("the job that reads this channel is over"))
    }
}

/// Takes rows from a job: see [`channel_out`].
pub struct RowReceiver<R> {
    receiver: Receiver<RecordBatch>,
    kind: PhantomData<fn() -> R>,
}
impl<R> std::fmt::Debug for RowReceiver<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowReceiver(..)")
    }
}
impl<R: Named> RowReceiver<R> {
    /// The next rows; waits for them. `None` after the job's end.
    ///
    /// # Errors
    /// If the rows have other columns than `R`.
    pub fn recv(&self) -> Result<Option<Vec<R>>> {
        match self.receiver.recv() {
            Ok(batch) => from_batch(&batch, "a channel").map(Some),
            Err(_) => Ok(None),
        }
    }
    /// The next rows, if there are some now.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<Vec<R>>> {
        self.receiver.try_recv().ok().map(|batch| from_batch(&batch, "a channel")).transpose()
    }
}
impl<R: Named> IntoIterator for RowReceiver<R> {
    type Item = Result<R>;
    type IntoIter = Rows<R>;
    fn into_iter(self) -> Rows<R> {
        Rows { receiver: self, rows: Vec::new().into_iter() }
    }
}

/// The rows of a channel, one by one.
pub struct Rows<R> {
    receiver: RowReceiver<R>,
    rows: std::vec::IntoIter<R>,
}
impl<R> std::fmt::Debug for Rows<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rows(..)")
    }
}
impl<R: Named> Iterator for Rows<R> {
    type Item = Result<R>;
    fn next(&mut self) -> Option<Result<R>> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            match self.receiver.recv() {
                Ok(Some(rows)) => self.rows = rows.into_iter(),
                Ok(None) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
    }
}
