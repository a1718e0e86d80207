//! A null names no instance.

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

    trades -> partition_by(region) -> sink;
}

fn main() {}

//~ ERROR 18:28 | region | `partition_by` takes a column of integers that is never null, not of `Option<i64>`
//~ ALSO says where nulls go
