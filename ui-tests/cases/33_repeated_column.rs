//! A column that appears twice in a row.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> select(|t| row { total: t.price, symbol: t.symbol, total: t.qty }) -> sink;
}

fn main() {}

//~ ERROR 15:66 | total | column `total` appears twice in this row
