//! Nothing to say.

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

    trades -> rebalance(shard) -> sink;
}

fn main() {}

//~ ERROR 18:25 | shard | `rebalance` takes nothing: it deals rows out evenly; to say which go together, `partition_by(shard)`
