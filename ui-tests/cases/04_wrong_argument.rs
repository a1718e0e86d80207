//! An argument of the wrong type.

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

    trades -> with(|t| row { value: notional(t.qty, t.qty) }) -> sink;
}

fn main() {}

//~ ERROR 21:46 | t.qty | mismatched types
//~ ALSO expected `f64`, found `i64`
