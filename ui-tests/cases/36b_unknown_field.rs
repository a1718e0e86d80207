//! A named row with a column that its record does not have.

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

    trades -> select(|t| row Alert { symbol: t.symbol, totl: t.price }) -> sink;
}

fn main() {}

//~ ERROR 21:56 | totl | struct `AlertRow<'_>` has no field named `totl`
