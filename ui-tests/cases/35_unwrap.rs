//! A panic in a closure over rows.

use sabot::prelude::*;

#[derive(Record)]
struct Quote {
    symbol: Str,
    bid: Option<f64>,
    size: i64,
}

pipeline! {
    pub fn p(quotes: Source<Quote>);

    quotes -> with(|q| row { value: q.bid.unwrap() * 2.0 }) -> sink;
}

fn main() {}

//~ ERROR 15:43 | unwrap | a null here would stop the job: use `?`, `unwrap_or(..)` or return a `Result`
