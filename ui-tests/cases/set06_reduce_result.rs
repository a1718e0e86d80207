//! A row is made of two rows.

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

    trades -> key_by(symbol) -> reduce(|a, b| a.price + b.price) -> sink;
}

fn main() {}

//~ ERROR 17:47 | a.price | mismatched types
//~ ALSO expected `Trade`, found `f64`
