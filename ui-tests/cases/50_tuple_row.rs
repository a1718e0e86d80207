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
