//! A union of different rows.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

#[derive(Record)]
struct Quote {
    symbol: Str,
    bid: Option<f64>,
    size: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>, quotes: Source<Quote>);

    trades -> union(quotes) -> sink;
}

fn main() {}

//~ ERROR 22:21 | quotes | cannot merge streams of `Trade` and `Quote` rows
//~ ALSO bring both to one record with `select(|r| row Name { .. })`
