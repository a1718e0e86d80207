//! A function of one row.

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

    trades -> reduce(|a| a) -> sink;
}

fn main() {}

//~ ERROR 17:22 | |a| | `reduce` takes a function of two rows, the one so far and the next: `reduce(|a, b| ..)`
