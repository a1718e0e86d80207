//! Rows that are taken back must not overtake each other.

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

    trades -> key_by(symbol) -> window(global(on_update)) -> aggregate(|t| row { n: count() }) -> rebalance() -> changelog() -> sink;
}

fn main() {}

//~ ERROR 18:99 | rebalance | this step needs rows that stay, but the rows of this stream are taken back when results change
//~ ALSO add `changelog()` before it
