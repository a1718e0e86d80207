//! A number as a condition.

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

    trades -> key_by(symbol) -> aggregate(|t| row { some: any(t.qty), every: all(t.price > 1.0) }) -> sink;
}

fn main() {}

//~ ERROR 16:63 | t.qty | `any` and `all` take a condition, not values of type `i64`
//~ ALSO compare: `any(t.delay? > 60)`
