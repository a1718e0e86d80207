//! As it is called elsewhere.

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

    trades -> repartition(8) -> sink;
}

fn main() {}

//~ ERROR 18:15 | repartition | there is no step `repartition`; did you mean `rebalance()`, or `partition_by(shard)`?
