//! `map` of a function that is not an operator.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

fn notional(price: f64, qty: i64) -> f64 {
    price * qty as f64
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> map(notional) -> sink;
}

fn main() {}

//~ ERROR 19:19 | notional | expected type, found function `notional`
