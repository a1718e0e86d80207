//! Distinct lists.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
    parts: List<i64>,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(symbol) -> aggregate(|t| row { kinds: count_distinct(t.parts) }) -> sink;
}

fn main() {}

//~ ERROR 16:75 | t.parts | `count_distinct` cannot tell values of type
