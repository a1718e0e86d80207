//! Steps written with dots.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades.filter(|t| t.qty > 3) -> sink;
}

fn main() {}

//~ ERROR 15:11 | . | steps are joined by `->`: write `trades -> filter(..)`
