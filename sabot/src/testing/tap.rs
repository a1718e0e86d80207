//! A sink whose rows can be looked at while the job runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::Result;
use crate::connect::Fold;
use crate::operator::{Changing, Sink, weights, without_weights};

/// The rows of a sink, shared with the test. A job that is restored writes them anew.
#[derive(Clone, Default)]
pub(super) struct Tap(Arc<Mutex<Vec<RecordBatch>>>);

impl Tap {
    fn lock(&self) -> MutexGuard<'_, Vec<RecordBatch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// What was written; of changes the rows that are left.
    pub(super) fn batches(&self) -> Result<Vec<RecordBatch>> {
        let written = self.lock().clone();
        match written.first() {
            Some(first) if weights(first).is_some() => {
                let mut fold = Fold::new(&without_weights(first)?.schema())?;
                written.iter().try_for_each(|batch| fold.add(batch))?;
                fold.finish()
            }
            _ => Ok(written),
        }
    }
    pub(super) fn rows(&self) -> usize {
        self.lock().iter().map(RecordBatch::num_rows).sum()
    }
    /// Whether rows are taken back.
    pub(super) fn changes(&self) -> bool {
        self.lock().first().is_some_and(|first| weights(first).is_some())
    }
}

impl Sink for Tap {
    fn open(&mut self, _schema: &SchemaRef) -> Result<()> {
        self.lock().clear();
        Ok(())
    }
    fn changes(&mut self, _changing: Changing<'_>) -> Result<()> {
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
