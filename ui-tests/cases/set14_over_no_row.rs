//! A window function without a column.

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

    trades -> over(ts, |t| lag(t.price)) -> sink;
}

fn main() {}

//~ ERROR 17:28 | lag | `over` takes an order and a closure that makes a row of window functions
