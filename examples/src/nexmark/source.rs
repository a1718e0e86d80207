//! The streams as sources of Sabot: the public trait, implemented by hand for the sake of columns that are computed only if they are
//! read, and of partitions that end.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use sabot::operator::{EventTime, Pace, Read, Source as Opened, Split, SplitReader};
use sabot::prelude::*;
use sabot::record::{Named, from_batch, schema_of};

use super::columns::Kind;
use super::model::{Auction, Bid, Person};
use super::sequence::{EVENTS, Sequence};

/// Rows of one split where the events are a batch.
const SPLIT_ROWS: u64 = 65_536;

/// How often events that come at a pace are asked for.
const ASK: Duration = Duration::from_millis(1);

/// The events of an auction site, as a stream of each kind.
///
/// ```
/// use sabot::prelude::*;
/// use sabot_examples::nexmark::{Nexmark, queries};
///
/// # fn main() -> Result<()> {
/// let nexmark = Nexmark::new().events(10_000);
/// // as a batch, and as a stream in two partitions: only the source knows
/// let batch = queries::q11(nexmark.bids_batch()).collect::<queries::Q11>()?;
/// let stream = queries::q11(nexmark.partitions(2).bids()).collect::<queries::Q11>()?;
/// sabot::testing::same_rows(&stream, &batch, 0.0)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Nexmark {
    sequence: Sequence,
    rounds: Option<u64>,
    partitions: u64,
    pace: Option<f64>,
    began: Arc<OnceLock<Instant>>,
}

impl Default for Nexmark {
    fn default() -> Self {
        Nexmark::new()
    }
}

impl Nexmark {
    /// Endless, in one partition, in order, as fast as it can: 10,000 events per second of event time.
    pub fn new() -> Self {
        Nexmark { sequence: Sequence::per_second(10_000), rounds: None, partitions: 1, pace: None, began: Arc::default() }
    }
    /// Ends after so many events; a multiple of [`EVENTS`], else the next one.
    #[must_use]
    pub fn events(self, events: u64) -> Self {
        Nexmark { rounds: Some(events.div_ceil(EVENTS)), ..self }
    }
    /// In so many partitions, which take turns.
    #[must_use]
    pub fn partitions(self, partitions: u32) -> Self {
        Nexmark { partitions: u64::from(partitions.max(1)), ..self }
    }
    /// The rule by which events follow each other.
    #[must_use]
    pub fn sequence(self, sequence: Sequence) -> Self {
        Nexmark { sequence, ..self }
    }
    /// At most so many events per second of the clock, over all kinds and partitions: only the pace depends on it. The clock begins with the
    /// first reader, also where a job continues.
    #[must_use]
    pub fn pace(self, events_per_second: f64) -> Self {
        Nexmark { pace: Some(events_per_second).filter(|p| p.is_finite() && *p > 0.0), began: Arc::default(), ..self }
    }
    /// The rule by which events follow each other.
    pub fn rule(&self) -> Sequence {
        self.sequence
    }
    /// How many partitions there are.
    pub fn partition_count(&self) -> u32 {
        self.partitions as u32
    }
    /// When the first reader was opened, if one was.
    pub fn began(&self) -> Option<Instant> {
        self.began.get().copied()
    }

    /// Bids, as a stream.
    pub fn bids(&self) -> Source<Bid> {
        self.stream()
    }
    /// Auctions, as a stream.
    pub fn auctions(&self) -> Source<Auction> {
        self.stream()
    }
    /// Persons, as a stream.
    pub fn persons(&self) -> Source<Person> {
        self.stream()
    }
    /// Bids, as a batch. There must be an [end](Self::events).
    pub fn bids_batch(&self) -> Source<Bid, Bounded> {
        self.batch()
    }
    /// Auctions, as a batch. There must be an [end](Self::events).
    pub fn auctions_batch(&self) -> Source<Auction, Bounded> {
        self.batch()
    }
    /// Persons, as a batch. There must be an [end](Self::events).
    pub fn persons_batch(&self) -> Source<Person, Bounded> {
        self.batch()
    }
    /// All events of a kind in a partition, in batches of so many rows, each with the watermark behind it.
    ///
    /// # Errors
    /// If there is no [end](Self::events).
    pub fn batches<E: Event>(&self, partition: u32, rows: usize) -> Result<Vec<(RecordBatch, EventTime)>> {
        let events = Events::of::<E>(self.ending()?, false);
        let mut reader = events.open(&events.split(u64::from(partition), 0, 0, None), None)?;
        let mut batches = Vec::new();
        while let Read::Rows(batch, time) = reader.next(rows)? {
            batches.extend(time.map(|t| (batch, t)));
        }
        Ok(batches)
    }
    /// All events of a kind as rows, in their order.
    ///
    /// # Errors
    /// If there is no [end](Self::events).
    pub fn rows<E: Event>(&self) -> Result<Vec<E>> {
        let whole = Nexmark { partitions: 1, ..self.ending()? };
        let mut rows = Vec::new();
        for (batch, _) in whole.batches::<E>(0, SPLIT_ROWS as usize)? {
            rows.extend(from_batch::<E>(&batch, "NEXMark")?);
        }
        Ok(rows)
    }

    /// The same, at its own pace.
    ///
    /// # Errors
    /// If there is no end.
    fn ending(&self) -> Result<Self> {
        match self.rounds {
            Some(_) => Ok(Nexmark { pace: None, ..self.clone() }),
            None => Err(Error::usage("NEXMark events as a batch need an end: `Nexmark::new().events(..)`")),
        }
    }
    /// Events of any kind, as a stream.
    pub fn stream<E: Event>(&self) -> Source<E> {
        let nexmark = self.clone();
        Source::custom(move || Ok(Events::of::<E>(nexmark.clone(), false)))
    }
    /// Events of any kind, as a batch. There must be an [end](Self::events).
    pub fn batch<E: Event>(&self) -> Source<E, Bounded> {
        let nexmark = Nexmark { partitions: 1, ..self.clone() };
        Source::custom_bounded(move || Ok(Events::of::<E>(nexmark.ending()?, true)))
    }
}

/// A kind of event: [`Person`], [`Auction`] or [`Bid`].
pub trait Event: Named + private::OfKind {}
impl Event for Person {}
impl Event for Auction {}
impl Event for Bid {}

mod private {
    use super::super::columns::Kind;
    use super::super::model::{Auction, Bid, Person};

    /// Which.
    pub trait OfKind {
        #[doc(hidden)]
        const KIND: Kind;
    }
    impl OfKind for Person {
        const KIND: Kind = Kind::Person;
    }
    impl OfKind for Auction {
        const KIND: Kind = Kind::Auction;
    }
    impl OfKind for Bid {
        const KIND: Kind = Kind::Bid;
    }
}

/// One kind of events, opened.
#[derive(Clone)]
struct Events {
    nexmark: Nexmark,
    kind: Kind,
    /// The columns to deliver.
    schema: SchemaRef,
    batch: bool,
}

impl Events {
    fn of<E: Event>(nexmark: Nexmark, batch: bool) -> Self {
        Events { nexmark, kind: E::KIND, schema: Arc::new(schema_of::<E>()), batch }
    }
    fn split(&self, partition: u64, sequence: u64, first: u64, rows: Option<u64>) -> Split {
        Split { partition: partition as u32, sequence, rows, bytes: None, spec: first.into() }
    }
    /// The rows of a partition, if they end.
    fn rows(&self, partition: u64) -> Option<u64> {
        let (rounds, partitions) = (self.nexmark.rounds?, self.nexmark.partitions);
        Some((rounds / partitions + u64::from(partition < rounds % partitions)) * self.kind.share())
    }
}

impl Opened for Events {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        let keep = columns.iter().map(|c| self.schema.index_of(c)).collect::<std::result::Result<Vec<_>, _>>()?;
        self.schema = Arc::new(self.schema.project(&keep)?);
        Ok(())
    }
    fn bounded(&self) -> bool {
        self.batch
    }
    fn splits(&self) -> Result<Vec<Split>> {
        if !self.batch {
            return Ok((0..self.nexmark.partitions).map(|p| self.split(p, 0, 0, self.rows(p))).collect());
        }
        let total = self.rows(0).unwrap_or(0);
        let firsts = (0..total).step_by(SPLIT_ROWS as usize).zip(0..);
        Ok(firsts.map(|(first, sequence)| self.split(0, sequence, first, Some(SPLIT_ROWS.min(total - first)))).collect())
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let partition = u64::from(split.partition);
        let number = |value: &serde_json::Value| {
            let other = || Error::Checkpoint(format!("`{value}` is no row of {}", self.describe()));
            value.as_u64().ok_or_else(other)
        };
        let first = number(&split.spec)?;
        let end = self.rows(partition).unwrap_or(u64::MAX);
        let end = if self.batch { end.min(first + SPLIT_ROWS) } else { end };
        let next = first + position.map_or(Ok(0), number)?;
        if next > end || partition >= self.nexmark.partitions {
            return Err(Error::Checkpoint(format!("row {next} of partition {partition} is beyond {}", self.describe())));
        }
        let began = *self.nexmark.began.get_or_init(Instant::now);
        Ok(Box::new(Reader { events: self.clone(), partition, first, next, end, resumed: next, began }))
    }
    fn pace(&self) -> Pace {
        Pace { ask_again: Some(ASK), ..Pace::default() }
    }
    fn describe(&self) -> String {
        format!("NEXMark's {:?} events", self.kind)
    }
}

struct Reader {
    events: Events,
    partition: u64,
    /// The first row of the split, the next one, and the one after the last.
    first: u64,
    next: u64,
    end: u64,
    /// The row at which the pace began, and when that was.
    resumed: u64,
    began: Instant,
}

impl Reader {
    /// How many rows the pace allows now; none while they are those of less than [`ASK`].
    fn allowed(&self) -> u64 {
        let Some(pace) = self.events.nexmark.pace else { return u64::MAX };
        let (kind, partitions) = (self.events.kind, self.events.nexmark.partitions);
        let share = pace * kind.share() as f64 / (EVENTS * partitions) as f64;
        let due = ((self.began.elapsed().as_secs_f64() * share) as u64).saturating_sub(self.next - self.resumed);
        if due < (ASK.as_secs_f64() * share) as u64 { 0 } else { due }
    }
}

impl SplitReader for Reader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        if self.next >= self.end {
            return Ok(Read::End);
        }
        let rows = self.allowed().min(max_rows.max(1) as u64).min(self.end - self.next) as usize;
        if rows == 0 {
            return Ok(Read::Idle);
        }
        let Events { nexmark, kind, schema, .. } = &self.events;
        let place = (self.partition, nexmark.partitions);
        let events = kind.events(place, self.next, rows);
        let columns = schema.fields().iter().map(|f| kind.column(nexmark.sequence, f.name(), &events));
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        self.next += rows as u64;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
        let watermark: EventTime = nexmark.sequence.watermark(kind.event(place, self.next)) * 1000;
        Ok(Read::Rows(batch, Some(watermark).filter(|_| !self.events.batch)))
    }
    fn position(&self) -> serde_json::Value {
        (self.next - self.first).into()
    }
}
