//! The order before the number.

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

    trades -> top(desc(price), 10) -> sink;
}

fn main() {}

//~ ERROR 17:19 | desc | `top` takes the number of rows first: `top(10, desc(price))`
