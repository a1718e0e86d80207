//! How long results take: events come at a fixed pace, and event time goes as the clock. A result is due when the clock shows its event time: that of
//! the row, or the end of its window; it is there when the sink gets it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMicrosecondType, TimestampMillisecondType};
use arrow_schema::SchemaRef;
use sabot::operator::{Beginning, Prepared, Preparing, Sink as Opened, TwoPhase};
use sabot::prelude::*;
use serde_json::{Value, json};

use super::{Task, feed};

/// Results before this much of the run do not count.
const WARM_UP: Duration = Duration::from_secs(2);

/// The windows of a question whose rows show the time of an event within them, in microseconds.
fn window(query: &str) -> i64 {
    if query == "q7" { 10_000_000 } else { 1 }
}

/// Runs at `per_second` events per second of the clock; milliseconds from when a result is due.
pub fn measure(task: &Task) -> Result<Value> {
    let nexmark = task.nexmark().pace(task.per_second as f64);
    let seen: Arc<Mutex<Vec<(Instant, i64)>>> = Arc::default();
    let rows = Arc::clone(&seen);
    let job = task.options(feed::Feed::new(nexmark.clone(), task.mode).job(&task.query)?);
    job.sink("result", Sink::custom(move || Ok(Arrivals { seen: Arc::clone(&rows) }))).run()?;
    let began = nexmark.began().ok_or_else(|| Error::usage("nothing was read"))?;
    let start = nexmark.rule().time(0) * 1000;
    let seen = seen.lock().map(|s| s.clone()).unwrap_or_default();
    // what comes when the events end was not due
    let end = nexmark.rule().time(task.events.saturating_sub(50)) * 1000;
    let window = window(&task.query);
    let late = |(at, shown): &(Instant, i64)| {
        let due = &(if window > 1 { shown - shown.rem_euclid(window) + window } else { *shown });
        let due_after = Duration::from_micros((due - start).max(0) as u64);
        let took = at.duration_since(began).saturating_sub(due_after);
        (due_after > WARM_UP && *due < end).then_some(took.as_secs_f64() * 1e3)
    };
    let mut ms: Vec<f64> = seen.iter().filter_map(late).collect();
    ms.sort_by(f64::total_cmp);
    let at = |q: f64| ms.get(((ms.len().saturating_sub(1)) as f64 * q) as usize).copied();
    Ok(json!({ "results": ms.len(), "median": at(0.5), "p99": at(0.99), "most": at(1.0) }))
}

/// When each row came, and when it was due, in microseconds of event time.
struct Arrivals {
    seen: Arc<Mutex<Vec<(Instant, i64)>>>,
}

impl Opened for Arrivals {
    fn open(&mut self, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let now = Instant::now();
        let mut seen = self.seen.lock().map_err(|_| Error::usage("a thread died"))?;
        if let Some(ends) = batch.column_by_name("window_end") {
            seen.extend(ends.as_primitive::<TimestampMicrosecondType>().values().iter().map(|t| (now, *t)));
        } else if let Some(times) = batch.column_by_name("date_time") {
            seen.extend(times.as_primitive::<TimestampMillisecondType>().values().iter().map(|t| (now, *t * 1000)));
        }
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
        "arrivals".into()
    }
}

/// Nothing is kept: each run is measured from its beginning.
impl TwoPhase for Arrivals {
    fn begin(&mut self, _beginning: Beginning<'_>) -> Result<()> {
        Ok(())
    }
    fn prepare(&mut self, _epoch: u64, _last: bool) -> Result<Preparing> {
        Ok(Preparing::new(|| Ok(Prepared::Null)))
    }
    fn publish(&mut self, _prepared: &Prepared) -> Result<()> {
        Ok(())
    }
}
