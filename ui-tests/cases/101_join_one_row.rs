//! A closure of one row for a join.

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
    id: i64,
    symbol: Str,
    bid: f64,
    #[event_time]
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>, quotes: Source<Quote, Bounded>);

    trades -> key_by(symbol) -> join(quotes -> key_by(symbol), |t| row { price: t.price }) -> sink;
}

fn main() {}

//~ ERROR 26:64 | |t| | `join` gives its closure two rows, the left and the right one: write `|l, r| row { .. }`
