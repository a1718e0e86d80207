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

//~ ERROR 15:22 | price | `filter` takes a closure: `filter(|t| price > 3.0)`, where `t.column` is a value of the row
