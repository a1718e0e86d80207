//! A row without a comma.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> select(|t| row { symbol: t.symbol price: t.price }) -> sink;
}

fn main() {}

//~ ERROR 15:49 | price | expected `,` between the columns of a row
