//! Fractions that are none.

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

    trades -> key_by(symbol) -> aggregate(|t| row { a: quantile(t.price, 1.5), b: approx_quantile(t.price, 90), c: quantile(t.price, -0.1) }) -> sink;
}

fn main() {}

//~ ERROR 16:74 | 1.5 | `quantile` takes a fraction between 0 and 1
//~ ERROR 16:108 | 90) | `approx_quantile` takes a fraction between 0 and 1: 90 percent is 0.9
//~ ERROR 16:135 | 0.1 | `quantile` takes a fraction between 0 and 1
