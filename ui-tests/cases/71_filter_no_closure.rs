//! A condition without a closure.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> filter(price > 3.0) -> sink;
}

fn main() {}
