//! A call within an expression.

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

    visits -> with(|v| row { length: geo(v.ip).await.len() }) -> sink;
}

fn main() {}

//~ ERROR 20:48 | await | a column waits for one call of an async operator, `length: geo(t.ip).await`; compute with its result in a `with` behind this one
