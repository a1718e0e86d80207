//! An as-of join of keys of different types.

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

    trades -> key_by(symbol) -> asof_join(quotes -> key_by(id), |t, q| row { bid: q?.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:43 | quotes | cannot join: the left stream is keyed by
//~ ALSO key both sides by columns of the same types, in the same order
