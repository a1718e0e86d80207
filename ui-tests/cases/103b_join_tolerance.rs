//! A named argument of another join.

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

    trades -> key_by(symbol) -> join(quotes -> key_by(symbol), tolerance = 5.sec(), |t, q| row { bid: q.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:64 | tolerance | `join` has no argument `tolerance`: it takes `on = |l, r| condition`, and `ttl = 1.hour()` or `within = -5.minute()..=5.minute()`
