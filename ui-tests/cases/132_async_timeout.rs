//! Calls may time out, and nobody says what becomes of such rows.

use sabot::prelude::*;

#[derive(Record)]
struct Visit {
    ip: Str,
    hits: i64,
}

/// Where an address is.
#[operator(timeout = "2s")]
async fn geo(ip: &str) -> Str {
    ip.into()
}

pipeline! {
    pub fn p(visits: Source<Visit>);

    visits -> map(geo.await) -> sink;
}

fn main() {}

//~ ERROR 20:33 | sink | a function before this step may return an error: say what becomes of such rows
