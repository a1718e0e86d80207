//! A quantile of strings, and a median of lists.

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

    trades -> key_by(symbol) -> aggregate(|t| row { high: quantile(t.symbol, 0.9), middle: median(t.parts) }) -> sink;
}

fn main() {}

//~ ERROR 16:68 | t.symbol | `quantile` and `median` cannot take values of type
//~ ALSO they take integers, floats, decimals, timestamps and durations
//~ ERROR 16:99 | t.parts | `quantile` and `median` cannot take values of type
