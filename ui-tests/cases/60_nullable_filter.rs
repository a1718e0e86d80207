//! A nullable column in a comparison.

use sabot::prelude::*;

#[derive(Record)]
struct Quote {
    symbol: Str,
    bid: Option<f64>,
    size: i64,
}

pipeline! {
    pub fn p(quotes: Source<Quote>);

    quotes -> filter(|q| q.bid > 3.0) -> sink;
}

fn main() {}

//~ ERROR 15:34 | 3.0 | mismatched types
//~ ALSO expected `Option<f64>`, found floating-point number
