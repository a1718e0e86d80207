//! An aggregate function that does not exist.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(symbol) -> aggregate(|t| row { total: summ(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 15:60 | summ | there is no aggregate function `summ`; did you mean `sum`?
