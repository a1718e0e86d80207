//! An async operator without `.await`.

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

    visits -> with(|v| row { place: geo(v.ip) }) -> sink;
}

fn main() {}

//~ ERROR 20:37 | geo(v.ip) | cannot be stored in an Arrow column
//~ ALSO a future comes from an async operator that is not awaited: `row { place: geo(t.ip).await }`
