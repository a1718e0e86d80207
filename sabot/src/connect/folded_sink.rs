//! A sink that stores the rows that are left of changes, when there are no more.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::fold::Fold;
use super::staged::not_open;
use crate::operator::{Changing, Sink, without_weights};
use crate::{Error, Result};

/// Makes a sink that only adds rows one that takes changes: they are added up in memory, and what is left is stored at the end.
pub(crate) struct FoldedSink {
    inner: Box<dyn Sink>,
    fold: Option<Fold>,
}

impl FoldedSink {
    pub(crate) fn new(inner: Box<dyn Sink>) -> Self {
        FoldedSink { inner, fold: None }
    }
}

impl Sink for FoldedSink {
    fn changes(&mut self, changing: Changing<'_>) -> Result<()> {
        if changing.ends {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{} would hold the final rows of a stream of changes, but its sources never end; add `changelog()` before the sink to store the changes as rows, or use a sink that applies them, such as a table of a database",
            self.inner.describe()
        )))
    }
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        let bare = without_weights(&RecordBatch::new_empty(SchemaRef::clone(schema)))?.schema();
        self.fold = Some(Fold::new(&bare)?);
        self.inner.open(&bare)
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let fold = self.fold.as_mut().ok_or_else(|| not_open("the folded sink"))?;
        fold.add(batch)
    }
    fn commit(&mut self) -> Result<()> {
        let mut fold = self.fold.take().ok_or_else(|| not_open("the folded sink"))?;
        fold.finish()?.iter().try_for_each(|batch| self.inner.write(batch))?;
        self.inner.commit()
    }
    fn abort(&mut self) {
        self.fold = None;
        self.inner.abort();
    }
    fn describe(&self) -> String {
        self.inner.describe()
    }
}
