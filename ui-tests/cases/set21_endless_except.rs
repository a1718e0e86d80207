//! Rows that are not in a stream that never ends.

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
    pub fn p(trades: Source<Trade, Bounded>, others: Source<Trade>);

    trades -> except(others) -> sink;
}

fn main() {}

//~ ERROR 17:22 | others | an unbounded stream never ends, so this step would never emit
//~ ALSO declare the source as one that ends: `Source<T, Bounded>`
