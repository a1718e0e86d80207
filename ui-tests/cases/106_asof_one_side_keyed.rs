//! An as-of join with a key on one side.

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

    trades -> key_by(symbol) -> asof_join(quotes, |t, q| row { bid: q?.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:43 | quotes | one side of this join is keyed and the other is not
//~ ALSO key both sides: `trades -> key_by(symbol) -> asof_join(quotes -> key_by(symbol), |t, q| ..)`; or none, to match in time alone
