//! An async operator is bound by name like any other.

use sabot::prelude::*;

#[derive(Record)]
struct Visit {
    ip: Str,
    hits: i64,
}

/// Where an address is.
#[operator(max_in_flight = 64, timeout = "2s")]
async fn geo(ip: &str) -> Result<Str, std::fmt::Error> {
    Ok(ip.into())
}

#[derive(Record)]
struct Person {
    name: Str,
}

pipeline! {
    pub fn p(visits: Source<Visit>, people: Source<Person>);

    visits -> map(geo) -> sink;
    people -> map(geo.await) -> on_error(skip) -> sink;
}

fn main() {}

//~ ERROR 25:19 | geo | operator `geo` cannot be bound by the names of its parameters
//~ ALSO `map(geo.await)`
//~ ERROR 26:19 | geo | has no column `ip: &str`, which operator `geo` reads
