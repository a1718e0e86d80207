//! Joining: names of airlines to flights (inner), the year of the plane where it is known (left; the tail number may be
//! null, and a null never matches).

use sabot::prelude::*;

/// One departure.
#[derive(Record, Clone, Debug)]
struct Flight {
    carrier: Str,
    tailnum: Option<Str>,
}

/// An airline.
#[derive(Record, Clone, Debug)]
struct Airline {
    carrier: Str,
    name: Str,
}

/// An aircraft.
#[derive(Record, Clone, Debug)]
struct Plane {
    tailnum: Option<Str>,
    year: Option<i64>,
}

/// The result.
#[derive(Record, Clone, Debug, PartialEq)]
struct Fleet {
    airline: Str,
    flights: u64,
    known: u64,
    built: Option<f64>,
}

pipeline! {
    /// How old the planes are that each airline flies.
    pub fn fleets(flights: Source<Flight, Bounded>, airlines: Source<Airline, Bounded>, planes: Source<Plane, Bounded>);

    named  = flights -> key_by(carrier)
                     -> join(airlines -> key_by(carrier), |f, a| row { airline: a.name, tailnum: f.tailnum });
    aged   = named   -> key_by(tailnum)
                     -> left_join(planes -> key_by(tailnum), |n, p| row { airline: n.airline, year: p?.year? });
    fleets = aged    -> key_by(airline)
                     -> aggregate(|r| row { flights: count(), known: count(r.year), built: mean(r.year) })
                     -> sort(built);
    fleets -> sink;
}

fn main() -> Result<()> {
    if std::env::args().len() > 1 {
        return sabot::main();
    }
    let file = |name: &str| format!("{}/data/nycflights13/{name}.parquet", env!("CARGO_MANIFEST_DIR"));
    let rows: Vec<Fleet> = fleets(parquet(&file("flights")), parquet(&file("airlines")), parquet(&file("planes"))).collect()?;
    for r in &rows {
        println!("{:28} {:6} flights, planes built {:.0} on average", r.airline.as_str(), r.flights, r.built.unwrap_or(f64::NAN));
    }
    assert_eq!(rows.len(), 16);
    assert_eq!(rows.iter().map(|r| r.flights).sum::<u64>(), 336_776, "a left join keeps every row");
    Ok(())
}
