//! A running sum of text.

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

    trades -> over(ts, |t| row { total: sum(t.symbol) }) -> sink;
}

fn main() {}

//~ ERROR 17:45 | t.symbol | `sum` cannot add values of type
