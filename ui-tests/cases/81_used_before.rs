//! A stream used before it is defined.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    big -> sink;
    big = trades -> filter(|t| t.qty > 3);
}

fn main() {}

//~ ERROR 15:5 | big | stream `big` is used before it is defined: move its statement up
