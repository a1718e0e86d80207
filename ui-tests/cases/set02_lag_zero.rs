//! A row before itself.

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

    trades -> key_by(symbol) -> over(ts, |t| row { prev: lag(t.price, 0) }) -> sink;
}

fn main() {}

//~ ERROR 17:71 | 0) | `lag` looks at least one row away: write an offset of 1 or more, or the column itself
