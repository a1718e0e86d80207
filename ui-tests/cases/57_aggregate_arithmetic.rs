//! Arithmetic around an aggregate function.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(symbol) -> aggregate(|t| row { total: sum(t.price) + 1.0 }) -> sink;
}

fn main() {}

//~ ERROR 15:73 | + | an aggregate function stands alone in its column: compute with its result in a step behind, `with(|r| row { total: r.total .. })`
