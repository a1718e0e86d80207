//! A sink whose rows can be looked at while the job runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::Result;
use crate::operator::Sink;

/// The rows of a sink, shared with the test. A job that is restored writes them anew.
#[derive(Clone, Default)]
pub(super) struct Tap(Arc<Mutex<Vec<RecordBatch>>>);

impl Tap {
    fn lock(&self) -> MutexGuard<'_, Vec<RecordBatch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(super) fn batches(&self) -> Vec<RecordBatch> {
        self.lock().clone()
    }
    pub(super) fn rows(&self) -> usize {
        self.lock().iter().map(RecordBatch::num_rows).sum()
    }
}

impl Sink for Tap {
    fn open(&mut self, _schema: &SchemaRef) -> Result<()> {
        self.lock().clear();
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.lock().push(batch.clone());
        Ok(())
    }
    fn commit(&mut self) -> Result<()> {
        Ok(())
    }
    fn abort(&mut self) {}
    fn describe(&self) -> String {
        "a test".into()
    }
}
