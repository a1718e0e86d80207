//! Computed rows as a source: deterministic, seekable, endless or limited.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::fit;
use crate::operator::{EventTime, Read, Source, Split, SplitReader};
use crate::{Error, Result};

/// Rows of one split of a limited generator.
pub(crate) const SPLIT_ROWS: u64 = 65_536;

type Make = dyn Fn(u32, u64, usize) -> Result<(RecordBatch, Option<EventTime>)> + Send + Sync;
type Clock = dyn Fn() -> Duration + Send + Sync;

/// A source that computes its rows: `make(partition, first_row, rows)` returns exactly `rows` rows, and the watermark
/// that holds after them, if there is one.
///
/// With `rows_per_partition` each of the `partitions` ends after that many rows; without, it is endless. The rows must
/// depend on the arguments alone, so that a reader can continue anywhere.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
/// use arrow_schema::{DataType, Field, Schema};
/// use sabot::connect::from_fn;
/// use sabot::operator::{Read, Source};
///
/// # fn main() -> sabot::Result<()> {
/// let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::UInt64, false)]));
/// let columns = schema.clone();
/// let source = from_fn(schema, 2, None, move |_partition, first, rows| {
///     let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(first..first + rows as u64));
///     Ok((RecordBatch::try_new(columns.clone(), vec![numbers])?, Some(first as i64)))
/// });
/// assert!(!source.bounded());
/// let split = source.splits()?.remove(1);
/// let mut reader = source.open(&split, Some(&1_000_000.into()))?;
/// assert!(matches!(reader.next(10)?, Read::Rows(batch, Some(1_000_000)) if batch.num_rows() == 10));
/// # Ok(()) }
/// ```
pub fn from_fn(
    schema: SchemaRef,
    partitions: u32,
    rows_per_partition: Option<u64>,
    make: impl Fn(u32, u64, usize) -> Result<(RecordBatch, Option<EventTime>)> + Send + Sync + 'static,
) -> Generate {
    let all = Arc::clone(&schema);
    Generate { all, schema, indices: None, partitions, rows: rows_per_partition, make: Arc::new(make), rate: None }
}

/// The source made by [`from_fn`].
///
/// Example: [`from_fn`].
#[derive(Clone)]
pub struct Generate {
    /// The columns that `make` returns.
    all: SchemaRef,
    /// The columns to deliver.
    schema: SchemaRef,
    indices: Option<Vec<usize>>,
    partitions: u32,
    rows: Option<u64>,
    make: Arc<Make>,
    rate: Option<Rate>,
}

#[derive(Clone)]
struct Rate {
    rows_per_second: f64,
    clock: Arc<Clock>,
}

impl Generate {
    /// Delivers at most this many rows per second and open reader (an endless partition has one); a reader that is ahead
    /// returns [`Read::Idle`]. Only
    /// the pace depends on it, never the rows.
    ///
    /// # Errors
    /// [`Error::Usage`] if the rate is not a positive number.
    pub fn rows_per_second(self, rate: f64) -> Result<Self> {
        let start = Instant::now();
        self.rows_per_second_by(rate, move || start.elapsed())
    }

    /// As [`rows_per_second`](Self::rows_per_second), by the time that `clock` tells (a simulation's, for instance).
    ///
    /// # Errors
    /// [`Error::Usage`] if the rate is not a positive number.
    pub fn rows_per_second_by(mut self, rate: f64, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Result<Self> {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(Error::usage(format!("a rate of {rate} rows per second is not a positive number")));
        }
        self.rate = Some(Rate { rows_per_second: rate, clock: Arc::new(clock) });
        Ok(self)
    }
}

impl Source for Generate {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        let (schema, indices) = fit::project(&self.all, columns, &self.describe())?;
        (self.schema, self.indices) = (schema, Some(indices));
        Ok(())
    }

    fn bounded(&self) -> bool {
        self.rows.is_some()
    }

    fn splits(&self) -> Result<Vec<Split>> {
        let mut splits = Vec::new();
        for partition in 0..self.partitions {
            let Some(total) = self.rows else {
                splits.push(Split { partition, sequence: 0, rows: None, bytes: None, spec: 0.into() });
                continue;
            };
            for (sequence, first) in (0..total).step_by(SPLIT_ROWS as usize).enumerate() {
                let rows = Some(SPLIT_ROWS.min(total - first));
                splits.push(Split { partition, sequence: sequence as u64, rows, bytes: None, spec: first.into() });
            }
        }
        Ok(splits)
    }

    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let first: u64 = fit::split_spec(split, &self.describe())?;
        let done = fit::number(position, &self.describe())?.unwrap_or(0);
        let end = self.rows.map_or(u64::MAX, |total| total.min(first.saturating_add(SPLIT_ROWS)));
        let next = first.saturating_add(done);
        if next > end || split.partition >= self.partitions {
            return Err(Error::Checkpoint(format!("row {next} of partition {} is beyond {}", split.partition, self.describe())));
        }
        let pace = self.rate.as_ref().map(|rate| (rate.clone(), (rate.clock)(), next));
        Ok(Box::new(Generator { source: self.clone(), partition: split.partition, first, next, end, pace }))
    }

    fn describe(&self) -> String {
        "a generator".into()
    }
}

struct Generator {
    source: Generate,
    partition: u32,
    first: u64,
    next: u64,
    end: u64,
    /// The rate, and when and with which row the reader began.
    pace: Option<(Rate, Duration, u64)>,
}

impl Generator {
    /// How many rows the rate allows now.
    fn allowed(&self) -> u64 {
        match &self.pace {
            None => u64::MAX,
            Some((rate, began, first)) => {
                let due = (rate.clock)().saturating_sub(*began).as_secs_f64() * rate.rows_per_second;
                (due as u64).saturating_sub(self.next - first)
            }
        }
    }
}

impl SplitReader for Generator {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        if self.next >= self.end {
            return Ok(Read::End);
        }
        let rows = self.allowed().min(max_rows.max(1) as u64).min(self.end - self.next) as usize;
        if rows == 0 {
            return Ok(Read::Idle);
        }
        let (batch, watermark) = (self.source.make)(self.partition, self.next, rows)?;
        if batch.num_rows() != rows || batch.schema_ref().fields() != self.source.all.fields() {
            let what = format!(
                "the function returned {} rows with {} columns where {rows} rows of the declared {} columns were asked for",
                batch.num_rows(),
                batch.num_columns(),
                self.source.all.fields().len()
            );
            return Err(Error::Data {
                place: format!("{}, partition {}, row {}", self.source.describe(), self.partition, self.next),
                what,
            });
        }
        self.next += rows as u64;
        let batch = match &self.source.indices {
            Some(indices) => batch.project(indices)?,
            None => batch,
        };
        Ok(Read::Rows(batch, watermark))
    }

    fn position(&self) -> serde_json::Value {
        (self.next - self.first).into()
    }
}
