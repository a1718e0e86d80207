//! The wrong number of arguments.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

/// Traded value.
#[operator]
fn notional(price: f64, qty: i64) -> f64 {
    price * qty as f64
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> with(|t| row { value: notional(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 21:37 | notional | this function takes 2 arguments but 1 argument was supplied
//~ ALSO provide the argument
