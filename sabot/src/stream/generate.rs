//! Computed rows as a source of a pipeline.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::Result;
use crate::connect::{Generate, from_fn};
use crate::operator::{EventTime, Source as Opened, Split, SplitReader};
use crate::record::{Duration, Micros, Named, schema_of, to_batch};

use super::{Bounded, Source, SourceBinding};

type MakeRow<R> = Arc<dyn Fn(u32, u64) -> R + Send + Sync>;

/// Rows that are computed from partition and row number: `generate(2, |partition, row| Reading { .. })`.
///
/// Endless, unless [`rows`](Generator::rows) limits it. The rows must depend on the arguments alone: then a job is
/// repeatable, and continues from a checkpoint where it was. If the record has an event time, each partition's watermark
/// trails the greatest event time by the [disorder](Generator::disorder); a row that lags further is late, and is dropped
/// and counted if some step depends on the time.
///
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Tick { n: i64 }
///
/// pipeline! {
///     /// Numbers that three divides.
///     pub fn thirds(ticks: Source<Tick>);
///     thirds = ticks -> filter(|t| t.n % 3 == 0);
///     thirds -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let rows: Vec<Tick> = thirds(generate(2, |_, row| Tick { n: row as i64 }).rows(6)).collect()?;
/// assert_eq!(rows.iter().map(|t| t.n).collect::<Vec<_>>(), [0, 3, 0, 3]);
/// # Ok(()) }
/// ```
pub fn generate<R: Named>(partitions: u32, row: impl Fn(u32, u64) -> R + Send + Sync + 'static) -> Generator<R> {
    Generator { partitions, make: Arc::new(row), rate: None, disorder: None, kind: PhantomData }
}

/// The source made by [`generate`].
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone)]
/// struct Reading { n: i64, #[event_time] at: Timestamp<Micros> }
/// #[derive(Record, Debug)]
/// struct Seconds { window_start: Timestamp<Micros>, rows: u64 }
///
/// pipeline! {
///     /// Readings per second.
///     pub fn seconds(readings: Source<Reading>);
///     seconds = readings -> with(|r| row { one: 1i64 }) -> key_by(one) -> window(tumbling(1.sec())) -> aggregate(|r| row { rows: count() });
///     seconds -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// // times go back and forth by up to half a second
/// let at = |row: u64| Timestamp::new(row as i64 * 250_000 - row as i64 % 3 * 250_000);
/// let source = generate(1, move |_, row| Reading { n: row as i64, at: at(row) }).rows_per_second(1e6).disorder(500.ms());
/// let seconds: Vec<Seconds> = seconds(source.rows(40)).collect()?;
/// assert_eq!(seconds.iter().map(|s| s.rows).sum::<u64>(), 40);
/// # Ok(()) }
/// ```
pub struct Generator<R> {
    partitions: u32,
    make: MakeRow<R>,
    rate: Option<f64>,
    disorder: Option<EventTime>,
    kind: PhantomData<fn() -> R>,
}

impl<R> std::fmt::Debug for Generator<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generator").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

impl<R: Named> Generator<R> {
    /// At most this many rows per second and partition. Only the pace depends on it, never the rows.
    #[must_use]
    pub fn rows_per_second(self, rate: f64) -> Self {
        Generator { rate: Some(rate), ..self }
    }
    /// How far the event time of a row may lag behind that of earlier rows of its partition.
    #[must_use]
    pub fn disorder(self, span: Duration<Micros>) -> Self {
        Generator { disorder: Some(span.value()), ..self }
    }
    /// The first rows of each partition only: a source that ends.
    pub fn rows(self, per_partition: u64) -> Source<R, Bounded> {
        self.bind(Some(per_partition))
    }
    fn bind<B>(self, rows: Option<u64>) -> Source<R, B> {
        Source::bind(SourceBinding::Live(Arc::new(move || Ok(Box::new(self.open(rows)?)))))
    }
    fn open(&self, rows: Option<u64>) -> Result<Generated> {
        let make = Arc::clone(&self.make);
        let source = from_fn(Arc::new(schema_of::<R>()), self.partitions, rows, move |partition, first, rows| {
            let rows: Vec<R> = (first..first.saturating_add(rows as u64)).map(|row| make(partition, row)).collect();
            Ok((to_batch(&rows), None))
        });
        let source = match self.rate {
            Some(rate) => source.rows_per_second(rate)?,
            None => source,
        };
        Ok(Generated { source, disorder: self.disorder })
    }
}

impl<R: Named> From<Generator<R>> for Source<R> {
    fn from(generator: Generator<R>) -> Self {
        generator.bind(None)
    }
}

/// [`Generate`] with what its rows' event time may do.
struct Generated {
    source: Generate,
    disorder: Option<EventTime>,
}

impl Opened for Generated {
    fn schema(&self) -> arrow_schema::SchemaRef {
        self.source.schema()
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        self.source.project(columns)
    }
    fn bounded(&self) -> bool {
        self.source.bounded()
    }
    fn splits(&self) -> Result<Vec<Split>> {
        self.source.splits()
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        self.source.open(split, position)
    }
    fn disorder(&self) -> Option<EventTime> {
        self.disorder
    }
    fn describe(&self) -> String {
        self.source.describe()
    }
}
