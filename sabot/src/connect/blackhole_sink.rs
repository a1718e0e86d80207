//! Counts rows and drops them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::Result;
use crate::operator::{Beginning, Changing, Prepared, Preparing, Sink, TwoPhase};

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
///
/// Example: [`BlackholeSink`].
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
    fn changes(&mut self, _changing: Changing<'_>) -> Result<()> {
        Ok(())
    }
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
    fn two_phase(&mut self) -> Option<&mut dyn TwoPhase> {
        Some(self)
    }
    fn describe(&self) -> String {
        "blackhole".into()
    }
}

/// There is nothing to show; what counts is that no row need be kept.
impl TwoPhase for BlackholeSink {
    fn begin(&mut self, beginning: Beginning<'_>) -> Result<()> {
        let before = beginning.from.and_then(Prepared::as_u64).unwrap_or(0);
        self.counter.0.store(before, Ordering::Relaxed);
        Ok(())
    }
    fn prepare(&mut self, _epoch: u64, _last: bool) -> Result<Preparing> {
        let rows = self.counter.rows();
        Ok(Preparing::new(move || Ok(rows.into())))
    }
    fn publish(&mut self, _prepared: &Prepared) -> Result<()> {
        Ok(())
    }
}
