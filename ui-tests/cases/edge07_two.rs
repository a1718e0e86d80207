//! Two columns.

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

    trades -> partition_by(shard, symbol) -> sink;
}

fn main() {}

//~ ERROR 18:35 | symbol | `partition_by` takes one column: make one number of several
