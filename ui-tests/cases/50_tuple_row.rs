//! A tuple where a row is expected.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> select(|t| (t.symbol, t.price)) -> sink;
}

fn main() {}

//~ ERROR 15:26 | (t.symbol, t.price) | `select` makes a row: write `select(|t| row { symbol: t.symbol, price: t.price })`
