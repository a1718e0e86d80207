//! `map(op)` where the stream has no column of a parameter's name.

use sabot::prelude::*;

#[derive(Record)]
struct Quote {
    symbol: Str,
    bid: f64,
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

//~ ERROR 21:19 | notional | `Quote` has no column `price: f64`, which operator `notional` reads
//~ ALSO bind it by hand: `with(|t| row { notional: notional(<expr>, ..) })`
