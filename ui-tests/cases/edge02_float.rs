//! Floats name no instance.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    shard: i32,
    region: Option<i64>,
    #[event_time]
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> partition_by(price) -> sink;
}

fn main() {}

//~ ERROR 18:28 | price | `partition_by` takes a column of integers that is never null, not of `f64`
//~ ALSO this column does not name an instance
//~ ALSO make one before
