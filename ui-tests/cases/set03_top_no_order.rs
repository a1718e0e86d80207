//! The first rows of no order.

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

    trades -> top(10) -> sink;
}

fn main() {}

//~ ERROR 17:15 | top | `top` needs an order: `top(10, desc(price))`; for the first rows in source order use `limit(10)`
