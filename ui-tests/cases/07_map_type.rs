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

//~ ERROR 21:19 | notional | column `price` is `i64`, but operator `notional` takes `f64`
//~ ALSO convert it by hand: `with(|t| row { notional: notional(<expr>, ..) })`, where `t.price?` passes a null on
