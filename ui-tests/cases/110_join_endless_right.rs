//! A right side that may never end.

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

    trades -> key_by(symbol) -> join(live -> key_by(symbol), |t, q| row { bid: q.bid }) -> sink; _quotes = quotes -> key_by(symbol);
}

fn main() {}

//~ ERROR 26:38 | live | the right side of a join is read to its end before the first row comes out, but this stream may never end
//~ ALSO declare its source as one that ends: `Source<T, Bounded>`
