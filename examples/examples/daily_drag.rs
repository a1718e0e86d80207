//! The design's example over the flights file: a fused run, a keyed tumbling window, an aggregate.
//!
//! Without arguments it collects the result in the program; with arguments it is the command line tool:
//! `cargo run --example daily_drag -- run daily_drag --minimum_miles 500 --source flights=flights.parquet`.

use sabot::prelude::*;

/// One departure from a New York airport.
#[derive(Record, Clone, Debug)]
pub(crate) struct Flight {
    carrier: Str,
    origin: Str,
    dep_delay: Option<i64>,
    distance: i64,
    #[event_time]
    time_hour: Timestamp<Micros>,
}

/// The result, to be collected.
#[derive(Record, Clone, Debug)]
struct DailyDrag {
    carrier: Str,
    window_start: Timestamp<Micros>,
    drag: Option<f64>,
    flights: u64,
}

/// Minutes lost per 100 miles flown.
#[operator]
fn drag(delay: i64, distance: i64) -> f64 {
    delay as f64 * 100.0 / distance as f64
}

pipeline! {
    /// Average drag per carrier and day.
    pub fn daily_drag(flights: Source<Flight>, minimum_miles: i64);

    long   = flights -> filter(|f| f.distance >= minimum_miles)
                     -> with(|f| row { drag: drag(f.dep_delay?, f.distance) });
    daily  = long    -> key_by(carrier) -> window(tumbling(1.day()))
                     -> aggregate(|f| row { drag: mean(f.drag), flights: count() });
    daily -> sink;
}

fn main() -> Result<()> {
    if std::env::args().len() > 1 {
        return sabot::main();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/nycflights13/flights.parquet");
    let job = daily_drag(parquet(path), 500);
    println!("{}", job.explain()?);
    let rows: Vec<DailyDrag> = job.collect()?;
    println!("{} rows, first {:?}", rows.len(), rows.first());
    assert_eq!(rows.iter().map(|r| r.flights).sum::<u64>(), 256_559);
    assert!(rows.iter().any(|r| r.carrier == "UA" && r.drag.is_some_and(|d| d > 0.0) && r.window_start.value() > 0));
    Ok(())
}
