//! A column that an earlier `select` dropped.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    big = trades -> select(|t| row { symbol: t.symbol, price: t.price });
    big -> filter(|b| b.qty > 10) -> sink;
}

fn main() {}

//~ ERROR 16:25 | qty | no field `qty` on type
//~ ALSO available fields are: `symbol`, `price`
