//! Two ranges of time.

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

    trades -> key_by(symbol) -> left_join(quotes -> key_by(symbol), ttl = 5.sec(), within = 0.sec()..=5.sec(), |t, q| row { bid: q?.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:93 | 0.sec() | `ttl` and `within` both say which event times are near: `ttl = 1.hour()` is `within = -1.hour()..=1.hour()`
