//! A source parameter whose type is the record.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Trade);

    trades -> filter(|t| t.price > 3.0) -> sink;
}

fn main() {}

//~ ERROR 13:22 | Trade | `trades` is used as a stream of rows: write `trades: Source<Trade>`
