//! No column.

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

    trades -> partition_by() -> sink;
}

fn main() {}

//~ ERROR 18:15 | partition_by | `partition_by` takes a column of integers, the number of each row's instance: `partition_by(shard)`; to deal rows out evenly, `rebalance()`
