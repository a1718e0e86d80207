//! Counts rows and drops them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::Result;
use crate::operator::Sink;

/// A sink that counts rows and drops them: for measuring, and for pipelines run for their side outputs.
///
/// ```
/// let (sink, counter) = sabot::connect::BlackholeSink::new();
/// drop(sink);
/// assert_eq!(counter.rows(), 0);
/// ```
pub struct BlackholeSink {
    counter: RowCounter,
}

/// How many rows a [`BlackholeSink`] has taken.
#[derive(Clone, Debug, Default)]
pub struct RowCounter(Arc<AtomicU64>);

impl RowCounter {
    /// The rows so far.
    pub fn rows(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl BlackholeSink {
    /// A sink, and the counter to read.
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> (Self, RowCounter) {
        let counter = RowCounter::default();
        (BlackholeSink { counter: counter.clone() }, counter)
    }
}

impl Sink for BlackholeSink {
    fn open(&mut self, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.counter.0.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        Ok(())
    }
    fn commit(&mut self) -> Result<()> {
        Ok(())
    }
    fn abort(&mut self) {}
    fn describe(&self) -> String {
        "blackhole".into()
    }
}
