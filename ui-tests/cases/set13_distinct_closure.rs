//! Columns as a closure.

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

    trades -> distinct(|t| t.symbol) -> sink;
}

fn main() {}

//~ ERROR 17:24 | |t| | `distinct` takes column names: write `distinct(symbol)`
