//! A closure in `map`.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> map(|t| t.price * 2.0) -> sink;
}

fn main() {}

//~ ERROR 15:19 | | | `map` takes the name of an operator: `map(notional)`; for an expression use `with(|t| row { .. })`
