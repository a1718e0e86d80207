//! A quantile without its fraction.

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

    trades -> key_by(symbol) -> aggregate(|t| row { high: quantile(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 16:59 | quantile | `quantile` takes a column and a fraction between 0 and 1: `quantile(t.x, 0.9)`
