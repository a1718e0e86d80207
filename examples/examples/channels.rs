//! A job inside a program: one thread pushes readings in, another takes alerts out while they come.

use sabot::prelude::*;

/// A reading of a sensor.
#[derive(Record, Clone, Debug)]
struct Reading {
    sensor: i64,
    value: f64,
}

/// A reading that is too high.
#[derive(Record, Clone, Debug, PartialEq)]
struct Alert {
    sensor: i64,
    value: f64,
}

pipeline! {
    /// Readings over a limit.
    pub fn alerts(readings: Source<Reading>, limit: f64);
    alerts = readings -> filter(|r| r.value > limit);
    alerts -> sink;
}

fn main() -> Result<()> {
    let (readings, source) = channel_in::<Reading>(4);
    let (sink, taken) = channel_out::<Alert>(4);
    let job = alerts(source, 99.0).sink("alerts", sink).spawn();
    let pushing = std::thread::spawn(move || -> Result<()> {
        for n in 0..1000 {
            // waits while the job is behind; the source ends when the sender is dropped
            readings.send([Reading { sensor: n % 7, value: (n % 101) as f64 }])?;
        }
        Ok(())
    });
    let mut count = 0;
    for alert in taken {
        let alert = alert?;
        assert_eq!(alert.value, 100.0);
        count += 1;
    }
    pushing.join().map_err(|_| Error::usage("the pushing thread panicked"))??;
    job.wait()?;
    println!("{count} alerts");
    assert_eq!(count, 9);
    Ok(())
}
