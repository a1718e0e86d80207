//! `.await` where a row is kept or dropped.

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

    visits -> filter(|v| geo(v.ip).await == "here") -> sink;
}

fn main() {}

//~ ERROR 20:36 | await | `filter` cannot wait: compute a column with `with(|t| row { ok: check(t.ip).await })`, then filter by it
