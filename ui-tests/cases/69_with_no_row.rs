//! A value where a row is expected.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> with(|t| t.price * 2.0) -> sink;
}

fn main() {}

//~ ERROR 15:24 | t | `with` makes a row: write `with(|t| row { column: t.price * 2.0 })`
