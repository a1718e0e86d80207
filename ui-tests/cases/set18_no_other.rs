//! No other stream.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
    #[event_time]
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> except() -> sink;
}

fn main() {}

//~ ERROR 17:15 | except | `except` needs another stream: `except(other)`
