//! A whole number as the fraction.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
    parts: List<i64>,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>, share: i64);

    trades -> key_by(symbol) -> aggregate(|t| row { high: quantile(t.price, share) }) -> sink;
}

fn main() {}

//~ ERROR 16:77 | share) | mismatched types
