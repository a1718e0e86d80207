//! A scalar operator where a keyed one is expected.

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

    trades -> key_by(symbol) -> keyed(|t| row { value: notional(t.price, t.qty) }) -> sink;
}

fn main() {}

//~ ERROR 21:56 | notional | `notional` keeps no state per key
//~ ALSO a keyed operator is an `#[operator] fn` whose first parameter is `&mut S`, with `#[derive(State, Default)] struct S`
