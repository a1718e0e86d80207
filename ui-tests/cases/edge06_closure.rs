//! A closure.

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

    trades -> partition_by(|t| t.shard) -> sink;
}

fn main() {}

//~ ERROR 18:28 | |t| t.shard | `partition_by` takes the name of a column: write `partition_by(shard)`, or compute one before: `with(|t| row { shard: .. }) -> partition_by(shard)`
