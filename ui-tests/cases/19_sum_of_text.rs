//! A sum of strings.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(qty) -> aggregate(|t| row { total: sum(t.symbol) }) -> sink;
}

fn main() {}

//~ ERROR 15:61 | t.symbol | `sum` cannot add values of type
//~ ALSO `sum` takes integers, floats, decimals and durations, and `Option` of these
