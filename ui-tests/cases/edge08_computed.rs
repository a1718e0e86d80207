//! A computed number.

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

    trades -> partition_by(shard % 4) -> sink;
}

fn main() {}

//~ ERROR 18:28 | shard % 4 | `partition_by` takes the name of a column: compute it before
