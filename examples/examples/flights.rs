//! Exploring a file: filter, computed columns, an aggregate per route, a sort, a limit.
//!
//! `Source<Flight, Bounded>` promises that the rows end, so a plain `aggregate` and a `sort` are allowed.

use sabot::prelude::*;

/// One departure from a New York airport; only the columns that are named here are read.
#[derive(Record, Clone, Debug)]
struct Flight {
    carrier: Str,
    origin: Str,
    dest: Str,
    dep_delay: Option<i64>,
    arr_delay: Option<i64>,
}

/// A line of the result.
#[derive(Record, Clone, Debug, PartialEq)]
struct Made {
    origin: Str,
    dest: Str,
    flights: u64,
    made_up: Option<f64>,
}

pipeline! {
    /// The routes on which pilots make up most of a late departure.
    pub fn made_up(flights: Source<Flight, Bounded>, minimum_flights: u64);

    late   = flights -> filter(|f| f.dep_delay? > 15)
                     -> with(|f| row { gain: f.dep_delay? - f.arr_delay? });
    routes = late    -> key_by(origin, dest)
                     -> aggregate(|f| row { flights: count(), made_up: mean(f.gain) })
                     -> filter(|r| r.flights >= minimum_flights)
                     -> sort(desc(made_up), origin, dest)
                     -> limit(5);
    routes -> sink;
}

fn main() -> Result<()> {
    if std::env::args().len() > 1 {
        return sabot::main();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/nycflights13/flights.parquet");
    let rows: Vec<Made> = made_up(parquet(path), 100).collect()?;
    for r in &rows {
        println!("{} to {}: {:.1} minutes made up on {} late flights", r.origin, r.dest, r.made_up.unwrap_or(f64::NAN), r.flights);
    }
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|r| r.flights >= 100));
    assert!(rows.is_sorted_by(|a, b| a.made_up >= b.made_up));
    Ok(())
}
