//! Calls may fail, and nobody says what becomes of such rows.

use sabot::prelude::*;

#[derive(Record)]
struct Visit {
    ip: Str,
    hits: i64,
}

/// Where an address is.
#[operator(max_in_flight = 64)]
async fn geo(ip: &str) -> Result<Str, std::fmt::Error> {
    Ok(ip.into())
}

pipeline! {
    pub fn p(visits: Source<Visit>);

    visits -> with(|v| row { place: geo(v.ip).await }) -> filter(|v| v.hits > 1) -> sink;
}

fn main() {}

//~ ERROR 20:59 | filter | a function before this step may return an error: say what becomes of such rows
//~ ALSO put one of these before it: `-> on_error(skip)` drops the row
