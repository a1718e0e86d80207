//! An interval join without its range.

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

    trades -> key_by(symbol) -> interval_join(quotes -> key_by(symbol), |t, q| row { bid: q.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:33 | interval_join | `interval_join` needs the range of right time less left time: `within = -5.minute()..=5.minute()`
