//! A negative time to live.

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
    pub fn p(trades: Source<Trade>, quotes: Source<Quote>);

    trades -> key_by(symbol) -> join(quotes -> key_by(symbol), ttl = -5.sec(), |t, q| row { bid: q.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:70 | -5.sec() | a time to live is a distance in time and cannot be negative: `ttl = 1.hour()`
