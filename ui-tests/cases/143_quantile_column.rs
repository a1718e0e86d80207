//! A column as the fraction.

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

    trades -> key_by(symbol) -> aggregate(|t| row { high: quantile(t.price, t.qty) }) -> sink;
}

fn main() {}

//~ ERROR 16:77 | t.qty | the fraction of `quantile` is one number for all rows: a constant or a parameter of the pipeline, not a column of `t`
