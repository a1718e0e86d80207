//! A step that has another name here.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> group_by(symbol) -> sink;
}

fn main() {}

//~ ERROR 15:15 | group_by | there is no step `group_by`; did you mean `key_by(a, b)`?
