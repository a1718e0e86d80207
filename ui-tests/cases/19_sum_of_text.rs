//! A sum of strings.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(qty) -> aggregate(|t| row { total: sum(t.symbol) }) -> sink;
}

fn main() {}
