//! An as-of join of streams that may never end.

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

    trades -> key_by(symbol) -> asof_join(live -> key_by(symbol), |t, q| row { bid: q?.bid }) -> sink; _quotes = quotes -> key_by(symbol);
}

fn main() {}

//~ ERROR 26:43 | live | joins in event time work on streams that end, but this one may never end
//~ ALSO declare the sources of both sides as ones that end: `Source<T, Bounded>`
