//! A range without its end.

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

    trades -> key_by(symbol) -> interval_join(quotes -> key_by(symbol), within = -5.minute()..5.minute(), |t, q| row { bid: q.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:82 | -5.minute() | is not a range of time
//~ ALSO write both ends with their units, they are included: `within = -5.minute()..=5.minute()`, `within = 0.sec()..=1.hour()`
