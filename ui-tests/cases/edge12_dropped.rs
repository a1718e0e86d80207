//! A column that was dropped.

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

    trades -> select(|t| row { price: t.price }) -> partition_by(shard) -> sink;
}

fn main() {}

//~ ERROR 18:66 | shard | no field `shard` on type
