//! A row of an aggregate that names a key again.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(symbol) -> aggregate(|t| row { symbol: max(t.symbol), rows: count() }) -> sink;
}

fn main() {}

//~ ERROR 15:53 | symbol | column `symbol` appears twice in this row: the key columns and the window's bounds come first
