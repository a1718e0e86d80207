//! A plain column in an aggregate.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(symbol) -> aggregate(|t| row { price: t.price }) -> sink;
}

fn main() {}

//~ ERROR 15:60 | t | `price` needs an aggregate function: `sum(..)`, `count()`, `min(..)`, `max(..)`, `mean(..)` or an aggregate of your own
