//! A named row with a column of the wrong type.

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

    trades -> select(|t| row Alert { symbol: t.symbol, total: t.qty }) -> sink;
}

fn main() {}

//~ ERROR 21:63 | t.qty | mismatched types
//~ ALSO expected `f64`, found `i64`
