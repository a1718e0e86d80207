//! `map(op)` where the column has another type.

use sabot::prelude::*;

#[derive(Record)]
struct Quote {
    symbol: Str,
    price: i64,
    qty: i64,
}

/// Traded value.
#[operator]
fn notional(price: f64, qty: i64) -> f64 {
    price * qty as f64
}

pipeline! {
    pub fn p(quotes: Source<Quote>);

    quotes -> map(notional) -> sink;
}

fn main() {}
