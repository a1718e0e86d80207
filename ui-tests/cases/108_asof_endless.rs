//! An as-of join that may wait for ever.

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
    pub fn p(trades: Source<Trade, Bounded>, quotes: Source<Quote, Bounded>, live: Source<Quote>);

    trades -> key_by(symbol) -> asof_join(live -> key_by(symbol), direction = nearest, |t, q| row { bid: q?.bid }) -> sink; _quotes = quotes -> key_by(symbol);
}

fn main() {}

//~ ERROR 26:79 | nearest | the nearest right row may be one that is still to come, and the right side may never end
//~ ALSO say how far away the partner may be: `asof_join(.., direction = nearest, tolerance = 5.sec(), ..)`
