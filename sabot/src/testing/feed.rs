//! A source that a test fills while the job runs.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::operator::{EventTime, Read, Source as Opened, Split, SplitReader};
use crate::record::{Duration, Micros, Named, schema_of, to_batch};
use crate::stream::Source;
use crate::sync::lock;
use crate::{Error, Result};

/// An endless source with partitions, which a test fills by [`Driver::feed`](super::Driver::feed). It keeps what it was given, so that a
/// job can go back to a checkpoint.
pub struct Feed<R> {
    shared: Arc<Mutex<Vec<Partition>>>,
    disorder: Option<EventTime>,
    kind: PhantomData<fn() -> R>,
}

#[derive(Default)]
struct Partition {
    batches: Vec<RecordBatch>,
    rows: usize,
    /// How many a reader has taken.
    read: usize,
}

impl<R> std::fmt::Debug for Feed<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Feed")
    }
}

impl<R: Named> Feed<R> {
    /// With this many partitions, at least one.
    pub fn new(partitions: u32) -> Self {
        let shared = (0..partitions.max(1)).map(|_| Partition::default()).collect();
        Feed { shared: Arc::new(Mutex::new(shared)), disorder: None, kind: PhantomData }
    }
    /// How far the event time of a row may lag behind that of earlier rows of its partition; as sources of the pipeline if it is not said.
    #[must_use]
    pub fn disorder(self, span: Duration<Micros>) -> Self {
        Feed { disorder: Some(span.value()), ..self }
    }
    /// The source, for the pipeline.
    pub fn source(&self) -> Source<R> {
        let fed = Fed {
            all: Arc::new(schema_of::<R>()),
            schema: Arc::new(schema_of::<R>()),
            shared: Arc::clone(&self.shared),
            disorder: self.disorder,
        };
        Source::custom(move || Ok(fed.clone()))
    }
    /// Adds rows to a partition.
    pub(super) fn push(&self, partition: u32, rows: &[R]) -> Result<()> {
        let mut partitions = lock(&self.shared);
        let count = partitions.len();
        let Some(partition) = partitions.get_mut(partition as usize) else {
            return Err(Error::Usage(format!("the feed has partitions 0 to {}, but rows are fed to {partition}", count - 1)));
        };
        partition.rows += rows.len();
        partition.batches.push(to_batch(rows));
        Ok(())
    }
    /// Whether all rows have been read.
    pub(super) fn is_read(&self) -> bool {
        lock(&self.shared).iter().all(|p| p.read == p.rows)
    }
}

#[derive(Clone)]
struct Fed {
    all: SchemaRef,
    schema: SchemaRef,
    shared: Arc<Mutex<Vec<Partition>>>,
    disorder: Option<EventTime>,
}

impl Opened for Fed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        let at = columns.iter().map(|c| self.all.index_of(c)).collect::<Result<Vec<_>, _>>()?;
        self.schema = Arc::new(self.all.project(&at)?);
        Ok(())
    }
    fn bounded(&self) -> bool {
        false
    }
    fn splits(&self) -> Result<Vec<Split>> {
        let split = |partition| Split { partition, sequence: 0, rows: None, bytes: None, spec: 0.into() };
        Ok((0..lock(&self.shared).len() as u32).map(split).collect())
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let number = |v: &serde_json::Value| v.as_u64().map(|v| v as usize).ok_or_else(|| Error::Checkpoint("not a row number".into()));
        let next = position.map_or(Ok(0), number)?;
        if let Some(partition) = lock(&self.shared).get_mut(split.partition as usize) {
            partition.read = next;
        }
        Ok(Box::new(Reader { source: self.clone(), partition: split.partition as usize, next }))
    }
    fn disorder(&self) -> Option<EventTime> {
        self.disorder
    }
    fn describe(&self) -> String {
        "rows of a test".into()
    }
}

struct Reader {
    source: Fed,
    partition: usize,
    next: usize,
}

impl SplitReader for Reader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        let mut partitions = lock(&self.source.shared);
        let Some(partition) = partitions.get_mut(self.partition) else { return Ok(Read::End) };
        let mut skip = self.next;
        for batch in &partition.batches {
            if skip >= batch.num_rows() {
                skip -= batch.num_rows();
                continue;
            }
            let piece = batch.slice(skip, max_rows.max(1).min(batch.num_rows() - skip));
            self.next += piece.num_rows();
            partition.read = self.next;
            let at = self.source.schema.fields().iter().map(|f| self.source.all.index_of(f.name())).collect::<Result<Vec<_>, _>>()?;
            return Ok(Read::Rows(piece.project(&at)?, None));
        }
        Ok(Read::Idle)
    }
    fn position(&self) -> serde_json::Value {
        self.next.into()
    }
}
