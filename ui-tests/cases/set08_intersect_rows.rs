//! A set of other rows.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
    #[event_time]
    ts: Timestamp<Micros>,
}

#[derive(Record)]
struct Quote {
    symbol: Str,
    bid: Option<f64>,
    #[event_time]
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>, quotes: Source<Quote, Bounded>);

    trades -> intersect(quotes) -> sink;
}

fn main() {}

//~ ERROR 25:25 | quotes | cannot merge streams of `Trade` and `Quote` rows
//~ ALSO bring both to one record with `select(|r| row Name { .. })`
