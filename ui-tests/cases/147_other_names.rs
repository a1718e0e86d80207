//! Names of other systems.

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

    trades -> key_by(symbol) -> aggregate(|t| row { a: avg(t.price), b: variance(t.price), c: array_agg(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 16:56 | avg | there is no aggregate function `avg`; did you mean `mean`?
//~ ERROR 16:73 | variance | did you mean `var`?
//~ ERROR 16:95 | array_agg | did you mean `collect`?
