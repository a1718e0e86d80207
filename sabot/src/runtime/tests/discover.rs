//! Partitions that appear while a job runs, and between two lives of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use super::*;
use crate::Result;
use crate::operator::{Pace, Read, Source, Split, SplitReader};

/// Rows of each partition.
const ROWS: i64 = 40;

/// A log that outlives processes: partition p has rows (p, 0), (p, 1) and so on. Told to begin at the end, it begins with row 10, but for partitions
/// that appear later.
#[derive(Clone, Default)]
struct Log {
    partitions: Arc<AtomicU32>,
    /// Partitions that were begun late.
    late: Arc<Mutex<Vec<u32>>>,
}

impl Source for Log {
    fn schema(&self) -> arrow_schema::SchemaRef {
        schema()
    }
    fn project(&mut self, _columns: &[String]) -> Result<()> {
        Ok(())
    }
    fn bounded(&self) -> bool {
        false
    }
    fn splits(&self) -> Result<Vec<Split>> {
        let one = |partition| Split { partition, sequence: 0, rows: None, bytes: None, spec: "end".into() };
        Ok((0..self.partitions.load(SeqCst)).map(one).collect())
    }
    fn pace(&self) -> Pace {
        Pace { list_again: Some(Duration::from_millis(20)), ask_again: None }
    }
    fn later(&self, mut split: Split) -> Split {
        self.late.lock().unwrap().push(split.partition);
        split.spec = "start".into();
        split
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let start = if split.spec == "end" { 10 } else { 0 };
        let at = position.map_or(start, |p| p.as_i64().unwrap());
        Ok(Box::new(LogReader { partition: split.partition.into(), at }))
    }
    fn describe(&self) -> String {
        "a log".into()
    }
}

struct LogReader {
    partition: i64,
    at: i64,
}

impl SplitReader for LogReader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        if self.at >= ROWS {
            return Ok(if self.partition == 0 { Read::Wait } else { Read::Idle });
        }
        let to = ROWS.min(self.at + max_rows as i64);
        let rows: Vec<Row> = (self.at..to).map(|i| (self.partition, i)).collect();
        self.at = to;
        Ok(Read::Rows(batch(&rows), None))
    }
    fn position(&self) -> serde_json::Value {
        self.at.into()
    }
}

fn plan(log: &Log) -> Plan {
    let mut p = Plan::default();
    let s = p.source(log.clone());
    let m = p.step("map", s, || Map(|r| Ok(Some(r))));
    p.sink(m);
    p
}

/// All rows of the partitions; those that were there at first from row 10 on.
fn expected(first: u32, all: u32) -> Vec<Row> {
    (0..all).flat_map(|p| (if p < first { 10 } else { 0 }..ROWS).map(move |i| (p.into(), i))).collect()
}

#[test]
fn new_partitions_are_read_from_their_start() {
    for seed in seeds(60) {
        let first = seed as u32 % 4;
        let log = Log::default();
        log.partitions.store(first, SeqCst);
        let (grow, control, seen) = (Arc::clone(&log.partitions), Control::new(), Seen::default());
        let stop = control.clone();
        let executor = Simulated::new(seed).at(300 + seed * 3, move || grow.store(first + 3, SeqCst)).at(8000, move || stop.stop());
        let report = run_on(Arc::new(executor), &plan(&log).0, bind(2, &seen), &options(1 + seed as usize % 4, 7), &control, None);
        let report = report.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(seen.sorted(), expected(first, first + 3), "seed {seed}");
        assert!(report.events.iter().any(|e| e.contains("3 partitions or files more")), "{:?}", report.events);
    }
}

#[test]
fn a_partition_that_a_checkpoint_does_not_name_is_new() {
    let mut continued = 0;
    for seed in seeds(60) {
        let first = 1 + seed as u32 % 3;
        let log = Log::default();
        log.partitions.store(first, SeqCst);
        let (control, seen) = (Control::new(), Seen::default());
        let (asked, taken) = (control.clone(), Arc::new(Mutex::new(None)));
        let slot = Arc::clone(&taken);
        // the first cut may come before anything else
        let executor = Simulated::new(seed).at(1 + seed % 20, move || *slot.lock().unwrap() = Some(asked.request_snapshot())).crash_at(400);
        let died = run_on(Arc::new(executor), &plan(&log).0, bind(2, &seen), &options(1 + seed as usize % 3, 7), &control, None);
        assert!(died.is_err());
        let Some(Ok(checkpoint)) = taken.lock().unwrap().take().and_then(|t| t.try_take()) else { continue };
        continued += 1;
        assert_eq!(
            checkpoint.positions.iter().map(|p| p.open.len()).sum::<usize>(),
            first as usize,
            "seed {seed}: all partitions are named"
        );
        log.partitions.store(first + 2, SeqCst);
        log.late.lock().unwrap().clear();
        let (control, seen) = (Control::new(), Seen::default());
        let stop = control.clone();
        let executor = Simulated::new(seed + 1).at(6000, move || stop.stop());
        run_on(Arc::new(executor), &plan(&log).0, bind(2, &seen), &options(1 + seed as usize % 4, 7), &control, Some(&checkpoint)).unwrap();
        assert_eq!(seen.sorted(), expected(first, first + 2), "seed {seed}");
        let mut late = log.late.lock().unwrap().clone();
        late.sort_unstable();
        assert_eq!(late, [first, first + 1], "seed {seed}");
    }
    assert!(continued > 20, "{continued}");
}

/// A source whose server does not answer holds time back, one that has nothing does not.
#[test]
fn waiting_is_not_idling() {
    for (partition, idle) in [(0, false), (1, true)] {
        let log = Log::default();
        log.partitions.store(partition + 1, SeqCst);
        let (control, seen) = (Control::new(), Seen::default());
        let stop = control.clone();
        let executor = Simulated::new(3).at(8000, move || stop.stop());
        let options = RunOptions { idle_after: Duration::from_secs(1), ..options(2, 10) };
        let report = run_on(Arc::new(executor), &plan(&log).0, bind(2, &seen), &options, &control, None).unwrap();
        assert_eq!(report.events.iter().any(|e| e.contains(&format!("partition {partition} is idle"))), idle, "{:?}", report.events);
    }
}
