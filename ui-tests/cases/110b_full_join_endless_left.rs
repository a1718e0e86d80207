//! A full join of a left side that may never end.

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

    live -> key_by(symbol) -> full_join(quotes -> key_by(symbol), |t, q| row { bid: q?.bid }) -> sink; _trades = trades -> key_by(symbol);
}

fn main() {}

//~ ERROR 26:41 | quotes | this join emits right rows without a partner when the left stream ends, but that may never end
//~ ALSO `a -> left_join(b, ..)` keeps all rows of `a` as they come
//~ ALSO or say when a right row has no partner any more: `ttl = 1.hour()`
