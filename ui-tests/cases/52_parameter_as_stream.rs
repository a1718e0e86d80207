//! A parameter used as a stream.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>, limit: f64);

    limit -> filter(|t| t.price > 3.0) -> sink;
    trades -> sink;
}

fn main() {}

//~ ERROR 15:5 | limit | `limit` is a parameter, not a stream: a source is declared `limit: Source<Record>`
