//! An as-of join without event time.

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
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>, quotes: Source<Quote, Bounded>);

    trades -> key_by(symbol) -> asof_join(quotes -> key_by(symbol), |t, q| row { bid: q?.bid }) -> sink;
}

fn main() {}

//~ ERROR 25:43 | quotes | this join compares the event times of both sides, but one has none
//~ ALSO mark the timestamp with `#[event_time]` in the record, or name it behind the source: `quotes -> event_time(ts) -> key_by(symbol)`
