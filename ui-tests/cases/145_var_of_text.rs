//! A variance of strings.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
    parts: List<i64>,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(symbol) -> aggregate(|t| row { wide: var(t.symbol), rows: count() }) -> sink;
}

fn main() {}

//~ ERROR 16:63 | t.symbol | variances and standard deviations take numbers, not values of type
