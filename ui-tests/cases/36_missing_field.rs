//! A named row without one of its columns.

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

    trades -> select(|t| row Alert { symbol: t.symbol }) -> sink;
}

fn main() {}

//~ ERROR 21:30 | Alert | missing field `total` in initializer of `AlertRow<'_>`
