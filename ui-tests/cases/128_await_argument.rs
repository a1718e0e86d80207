//! A call with an argument of another type.

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

pipeline! {
    pub fn p(visits: Source<Visit>);

    visits -> with(|v| row { place: geo(v.hits).await }) -> on_error(skip) -> sink;
}

fn main() {}

//~ ERROR 20:41 | v.hits | mismatched types
