//! A CSV file with broken lines: by default the job fails and says where; by choice the lines are skipped, and counted.

use sabot::connect::{CsvOptions, OnBadLine};
use sabot::prelude::*;

/// A reading of a sensor.
#[derive(Record, Clone, Debug)]
struct Reading {
    sensor: Str,
    value: f64,
}

/// The mean per sensor.
#[derive(Record, Clone, Debug, PartialEq)]
struct Level {
    sensor: Str,
    level: Option<f64>,
}

pipeline! {
    /// Mean reading per sensor.
    pub fn levels(readings: Source<Reading, Bounded>);

    by_sensor = readings -> key_by(sensor) -> aggregate(|r| row { level: mean(r.value) }) -> sort(sensor);
    by_sensor -> sink;
}

const TEXT: &str = "sensor,value\nleft,1.5\nright,2.0\nleft,oops\nleft,2.5\nright\n";

fn main() -> Result<()> {
    if std::env::args().len() > 1 {
        return sabot::main();
    }
    let path = std::env::temp_dir().join(format!("sabot-readings-{}.csv", std::process::id()));
    std::fs::write(&path, TEXT).map_err(|e| Error::io(&path, "cannot write", e))?;
    let file = path.display().to_string();

    let error = levels(csv(&file)).collect::<Level>().map_err(|e| e.to_string());
    println!("{error:?}");
    assert!(error.is_err_and(|e| e.contains(":4") && e.contains("oops")), "the message names line and value");

    let skip = CsvOptions { on_bad_line: OnBadLine::Skip, ..CsvOptions::default() };
    let job = levels(csv_with(&file, skip));
    let (batches, report) = job.collect_with(&sabot::runtime::Control::new(), None, None)?;
    let failed: u64 = report.nodes.iter().map(|n| n.account.failed).sum();
    let rows: usize = batches.iter().map(|b| b.num_rows()).sum();
    println!("{rows} sensors, {failed} lines skipped");
    assert_eq!((rows, failed), (2, 2));
    assert_eq!(
        job.collect::<Level>()?,
        [Level { sensor: "left".into(), level: Some(2.0) }, Level { sensor: "right".into(), level: Some(2.0) }]
    );
    std::fs::remove_file(&path).map_err(|e| Error::io(&path, "cannot remove", e))
}
