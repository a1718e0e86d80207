//! A parameter of a type that does not exist.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>, limit: Limit);

    trades -> filter(|t| t.price > limit) -> sink;
}

fn main() {}

//~ ERROR 13:44 | Limit | cannot find type `Limit` in this scope
