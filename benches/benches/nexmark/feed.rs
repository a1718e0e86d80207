//! Where a question's events come from: the generator, or the same batches in memory, which a source hands out again.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use sabot::operator::{EventTime, Read, Source as Opened, Split, SplitReader};
use sabot::prelude::*;
use sabot::record::schema_of;
use sabot::stream::Job;
use sabot_examples::nexmark::queries::*;
use sabot_examples::nexmark::{Auction, Bid, Event, Nexmark, Person, side_input};

/// Rows of a batch in memory.
const ROWS: usize = 16_384;

/// How events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Made by the source, as a stream.
    Generator,
    /// Made before, as a stream.
    Memory,
    /// Made by the source, as a batch.
    Batch,
}

impl Mode {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "generator" => Ok(Mode::Generator),
            "memory" => Ok(Mode::Memory),
            "batch" => Ok(Mode::Batch),
            other => Err(Error::usage(format!("events come from `generator`, `memory` or as a `batch`, not `{other}`"))),
        }
    }
}

/// The events of a run.
pub struct Feed {
    nexmark: Nexmark,
    mode: Mode,
}

impl Feed {
    pub fn new(nexmark: Nexmark, mode: Mode) -> Self {
        Feed { nexmark, mode }
    }
    /// One kind of events. In memory they are made now.
    fn source<E: Event>(&self) -> Result<Source<E>> {
        match self.mode {
            Mode::Generator => return Ok(self.nexmark.stream()),
            Mode::Batch => return Ok(self.nexmark.batch().into()),
            Mode::Memory => {}
        }
        let partitions = (0..self.nexmark.partition_count()).map(|p| Ok(Arc::new(self.nexmark.batches::<E>(p, ROWS)?)));
        let replay = Replay { schema: Arc::new(schema_of::<E>()), columns: None, partitions: partitions.collect::<Result<_>>()? };
        Ok(Source::custom(move || Ok(replay.clone())))
    }
    /// The question as a job over these events.
    pub fn job(&self, query: &str) -> Result<Job> {
        let (bids, auctions, persons) = (|| self.source::<Bid>(), || self.source::<Auction>(), || self.source::<Person>());
        let longest = self.nexmark.rule().longest() / 1000 + 1;
        Ok(match query {
            "q0" => q0(bids()?),
            "q1" => q1(bids()?),
            "q3" => q3(auctions()?, persons()?),
            "q4" => q4(auctions()?, bids()?, longest),
            "q5" => q5(bids()?),
            "q7" => q7(bids()?),
            "q8" => q8(persons()?, auctions()?),
            "q9" => q9(auctions()?, bids()?, longest),
            "q11" => q11(bids()?),
            "q13" => q13(bids()?, side_input()),
            "q15" => q15(bids()?),
            "q17" => q17(bids()?),
            "q18" => q18(bids()?),
            "q20" => q20(bids()?, auctions()?),
            other => return Err(Error::usage(format!("there is no question `{other}`"))),
        })
    }
}

/// Batches that are there already, as a stream that ends.
#[derive(Clone)]
struct Replay {
    schema: SchemaRef,
    columns: Option<Vec<usize>>,
    partitions: Vec<Arc<Vec<(RecordBatch, EventTime)>>>,
}

impl Opened for Replay {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        let keep = columns.iter().map(|c| self.schema.index_of(c)).collect::<std::result::Result<Vec<_>, _>>()?;
        self.schema = Arc::new(self.schema.project(&keep)?);
        self.columns = Some(keep);
        Ok(())
    }
    fn bounded(&self) -> bool {
        false
    }
    fn splits(&self) -> Result<Vec<Split>> {
        let split = |partition| Split { partition, sequence: 0, rows: None, bytes: None, spec: 0.into() };
        Ok((0..self.partitions.len() as u32).map(split).collect())
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let batches = self.partitions.get(split.partition as usize).map(Arc::clone).unwrap_or_default();
        let next = position.and_then(serde_json::Value::as_u64).unwrap_or(0) as usize;
        Ok(Box::new(Reader { batches, columns: self.columns.clone(), next }))
    }
    fn describe(&self) -> String {
        "events in memory".into()
    }
}

struct Reader {
    batches: Arc<Vec<(RecordBatch, EventTime)>>,
    columns: Option<Vec<usize>>,
    next: usize,
}

impl SplitReader for Reader {
    fn next(&mut self, _max_rows: usize) -> Result<Read> {
        let Some((batch, time)) = self.batches.get(self.next) else { return Ok(Read::End) };
        self.next += 1;
        let batch = match &self.columns {
            Some(columns) => batch.project(columns)?,
            None => batch.clone(),
        };
        Ok(Read::Rows(batch, Some(*time)))
    }
    fn position(&self) -> serde_json::Value {
        self.next.into()
    }
}
