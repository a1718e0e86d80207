//! A sink of your own that shows each row once, whenever the process dies: a `Sink` that is `TwoPhase`.
//!
//! Here: a "warehouse" that takes loads of rows, each under a number, all or nothing, and forgets no number. A database with a table of numbers
//! beside the table of rows is one. The job is stopped in the middle by an error, and continued.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sabot::operator::{Beginning, Prepared, Preparing, TwoPhase};
use sabot::prelude::*;
use sabot::record::from_batch;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

/// A number.
#[derive(Record, Clone, Debug, PartialEq)]
struct Number {
    n: i64,
}

/// What outlives the job: for each checkpoint the rows that came with it.
#[derive(Clone, Default)]
struct Warehouse(Arc<Mutex<BTreeMap<u64, Vec<i64>>>>);

impl Warehouse {
    fn load(&self, number: u64, rows: Vec<i64>) {
        if let Ok(mut loads) = self.0.lock() {
            // the question whether a load has arrived is answered here, so it may be sent again
            loads.entry(number).or_insert(rows);
        }
    }
    fn rows(&self) -> Vec<i64> {
        self.0.lock().map(|loads| loads.values().flatten().copied().collect()).unwrap_or_default()
    }
}

struct ToWarehouse {
    warehouse: Warehouse,
    rows: Vec<i64>,
}

impl sabot::operator::Sink for ToWarehouse {
    fn open(&mut self, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.extend(from_batch::<Number>(batch, "the warehouse")?.into_iter().map(|row| row.n));
        Ok(())
    }
    /// At the end of a job without checkpoints.
    fn commit(&mut self) -> Result<()> {
        self.warehouse.load(1, std::mem::take(&mut self.rows));
        Ok(())
    }
    fn abort(&mut self) {
        self.rows.clear();
    }
    fn two_phase(&mut self) -> Option<&mut dyn TwoPhase> {
        Some(self)
    }
    fn describe(&self) -> String {
        "the warehouse".into()
    }
}

/// What a checkpoint holds of the sink: its number and its rows.
type Load = (u64, Vec<i64>);

impl TwoPhase for ToWarehouse {
    fn begin(&mut self, _beginning: Beginning<'_>) -> Result<()> {
        // nothing is staged outside of checkpoints, so a process that died has left nothing
        Ok(())
    }
    fn prepare(&mut self, epoch: u64, _last: bool) -> Result<Preparing> {
        let load: Load = (epoch, std::mem::take(&mut self.rows));
        Ok(Preparing::new(move || serde_json::to_value(load).map_err(|e| Error::internal(e.to_string()))))
    }
    fn publish(&mut self, prepared: &Prepared) -> Result<()> {
        let (number, rows): Load = serde_json::from_value(prepared.clone()).map_err(|e| Error::Checkpoint(e.to_string()))?;
        self.warehouse.load(number, rows);
        Ok(())
    }
}

pipeline! {
    /// The numbers below a limit; one of them is bad, sometimes.
    pub fn numbers(limit: i64, bad: Secret<i64>);
    all = source(generate(1, |_, row| Number { n: row as i64 }).rows(limit as u64))
          -> filter(|r| if r.n == *bad.reveal() { Err("bad number") } else { Ok(true) }) -> on_error(fail);
    all -> sink;
}

fn main() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("sabot-custom-sink-{}", std::process::id()));
    let warehouse = Warehouse::default();
    let run = |bad: i64| {
        let warehouse = warehouse.clone();
        let sink = Sink::custom(move || Ok(ToWarehouse { warehouse: warehouse.clone(), rows: Vec::new() }));
        // a secret may change between two lives of a job, other parameters may not
        let job = numbers(2_000_000, Secret::new(bad)).sink("all", sink);
        job.options(|o| (o.checkpoint_dir, o.checkpoint_every) = (Some(dir.clone()), std::time::Duration::from_millis(5))).run()
    };
    let error = run(1_500_000).err().map(|e| e.to_string()).unwrap_or_default();
    let before = warehouse.rows().len();
    println!("{error}; {before} rows are there");
    assert!(error.contains("bad number") && before < 1_500_000, "{error}");

    let report = run(-1)?;
    let rows = warehouse.rows();
    println!("continued from checkpoint {:?}: {} rows", report.checkpoints.restored, rows.len());
    assert_eq!(rows, (0..2_000_000).collect::<Vec<i64>>());
    std::fs::remove_dir_all(&dir).map_err(|e| Error::io(&dir, "cannot remove", e))?;
    Ok(())
}
