//! A float as a key.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> key_by(price) -> sink;
}

fn main() {}

//~ ERROR 15:22 | price | `f64` cannot be used as a key
//~ ALSO keys are integers, bool, text, bytes, dates, times, timestamps, decimals, and `Option` of these; floats are not: round to an integer first
