//! A step without its parentheses.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> key_by -> sink;
}

fn main() {}

//~ ERROR 15:15 | key_by | expected `(` after step `key_by`
