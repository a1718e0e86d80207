//! A semi join with a closure.

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

    trades -> key_by(symbol) -> semi_join(quotes -> key_by(symbol), |t, q| row { price: t.price }) -> sink;
}

fn main() {}

//~ ERROR 26:69 | |t, q| | `semi_join` keeps left rows as they are and takes no closure; a condition on the pair is written `on = |l, r| condition`
