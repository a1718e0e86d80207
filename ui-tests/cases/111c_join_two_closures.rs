//! Two closures.

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

    trades -> key_by(symbol) -> join(quotes -> key_by(symbol), |t, q| t.price > q.bid, |t, q| row { bid: q.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:64 | |t, q| t.price | `join` makes one row; a condition on the pair is written `on = |l, r| condition`
