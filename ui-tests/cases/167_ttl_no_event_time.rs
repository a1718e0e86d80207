//! A join by event time of a stream that has none.

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
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade>, quotes: Source<Quote>);

    trades -> key_by(symbol) -> join(quotes -> key_by(symbol), ttl = 5.sec(), |t, q| row { bid: q.bid }) -> sink;
}

fn main() {}

//~ ERROR 25:38 | quotes | this join compares the event times of both sides, but one has none
