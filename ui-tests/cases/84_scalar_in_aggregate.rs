//! A scalar operator in an aggregate.

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
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(symbol) -> aggregate(|t| row { value: notional(t.price, t.qty) }) -> sink;
}

fn main() {}

//~ ERROR 21:60 | notional | `notional` is not an aggregate function: use `sum(..)`, `count()`, `min(..)`, `max(..)`, `mean(..)` or an aggregate of your own, an `impl` block with `#[operator]`
