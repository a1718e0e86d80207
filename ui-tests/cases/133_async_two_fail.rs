//! Two columns of a row that may fail: whose errors are meant?

use sabot::prelude::*;

#[derive(Record)]
struct Visit {
    ip: Str,
    hits: i64,
}

/// Where an address is.
#[operator]
async fn geo(ip: &str) -> Result<Str, std::fmt::Error> {
    Ok(ip.into())
}

pipeline! {
    pub fn p(visits: Source<Visit>);

    visits -> with(|v| row { place: geo(v.ip).await, again: geo(v.ip).await }) -> on_error(skip) -> sink;
}

fn main() {}

//~ ERROR 20:54 | again | only the last awaited column of a row may fail: write the columns in a `with` of their own each
//~ ALSO errors of the columns before this one are not dealt with
