//! A nullable column into an operator that takes no nulls.

use sabot::prelude::*;

#[derive(Record)]
struct Quote {
    symbol: Str,
    bid: Option<f64>,
    size: i64,
}

/// Traded value.
#[operator]
fn notional(price: f64, qty: i64) -> f64 {
    price * qty as f64
}

pipeline! {
    pub fn p(quotes: Source<Quote>);

    quotes -> with(|q| row { value: notional(q.bid, q.size) }) -> sink;
}

fn main() {}

//~ ERROR 21:46 | q.bid | mismatched types
//~ ALSO expected `f64`, found `Option<f64>`
