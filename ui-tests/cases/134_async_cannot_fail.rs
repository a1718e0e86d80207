//! Nothing fails where calls return plain values and have all the time.

use sabot::prelude::*;

#[derive(Record)]
struct Visit {
    ip: Str,
    hits: i64,
}

/// Where an address is.
#[operator]
async fn geo(ip: &str) -> Str {
    ip.into()
}

pipeline! {
    pub fn p(visits: Source<Visit>);

    visits -> with(|v| row { place: geo(v.ip).await }) -> on_error(skip) -> sink;
}

fn main() {}

//~ ERROR 20:59 | on_error | nothing can fail here: no function in the steps before this one returns a `Result`
