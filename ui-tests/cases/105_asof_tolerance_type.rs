//! A tolerance without a unit.

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

    trades -> key_by(symbol) -> asof_join(quotes -> key_by(symbol), tolerance = 5, |t, q| row { bid: q?.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:81 | 5, | `{integer}` is not a length of time
//~ ALSO write a number with its unit: `5.sec()`, `250.ms()`, `1.minute()`
