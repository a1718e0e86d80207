//! A mean of strings.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(qty) -> aggregate(|t| row { mean: mean(t.symbol), rows: count() }) -> sink;
}

fn main() {}

//~ ERROR 15:61 | t.symbol | `mean` cannot average values of type
//~ ALSO `mean` takes integers, floats and decimals, and `Option` of these
