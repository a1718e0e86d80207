//! A neighbour without an order.

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

    trades -> key_by(symbol) -> over(|t| row { prev: lag(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 17:54 | lag | `lag` needs an order: name the columns before the closure, `over(ts, |t| ..)`
