//! A call that reads a column which its own row replaces.

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

    visits -> with(|v| row { ip: v.ip.trim(), place: geo(v.ip).await }) -> sink;
}

fn main() {}

//~ ERROR 20:47 | place | this call would see `ip` as the same row sets it, not as it came: write the two columns in a `with` of their own each
