//! A struct literal where a named row is expected.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

#[derive(Record)]
struct Alert {
    symbol: Str,
    total: f64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> select(|t| Alert { symbol: t.symbol, total: t.price }) -> sink;
}

fn main() {}

//~ ERROR 21:26 | Alert | `select` makes a row: write `select(|t| row Alert { .. })`
