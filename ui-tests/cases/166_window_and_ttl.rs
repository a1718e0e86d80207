//! A join of windows with a time to live.

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

    trades -> key_by(symbol) -> window(tumbling(1.sec())) -> join(quotes -> key_by(symbol) -> window(tumbling(1.sec())), ttl = 5.sec(), |t, q| row { bid: q.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:122 | ttl | rows of the same window are joined here: leave out `ttl`, or the `window` steps
