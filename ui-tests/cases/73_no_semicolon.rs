//! A missing semicolon between statements.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    big = trades -> filter(|t| t.qty > 3)
    big -> sink;
}

fn main() {}

//~ ERROR 16:5 | big | expected `->` or `;` after a step
