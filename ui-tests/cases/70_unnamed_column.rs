//! A column without a name.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> select(|t| row { symbol: t.symbol, t.price * 2.0 }) -> sink;
}

fn main() {}

//~ ERROR 15:50 | t | a column needs a name: write `column: expression`
