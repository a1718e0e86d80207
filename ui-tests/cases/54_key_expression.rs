//! An expression as a key.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> key_by(t.symbol) -> sink;
}

fn main() {}

//~ ERROR 15:22 | t | `key_by` takes column names: write `key_by(symbol)`
