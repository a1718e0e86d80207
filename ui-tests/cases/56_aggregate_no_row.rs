//! An aggregate that makes no row.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(symbol) -> aggregate(|t| t.price) -> sink;
}

fn main() {}

//~ ERROR 15:47 | t | `aggregate` makes a row of aggregates: `aggregate(|t| row { total: sum(t.amount), rows: count() })`
