//! More than all rows.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
    #[event_time]
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> sample(15) -> sample(1.5, seed = 7) -> sample(0.5, 7) -> sink;
}

fn main() {}

//~ ERROR 17:22 | 15 | `sample` keeps a part of the rows, from 0 to 1, not 15; 15 percent is `0.15`
//~ ERROR 17:36 | 1.5 | `sample` keeps a part of the rows, from 0 to 1, not 1.5; 1.5 percent is `0.015`
//~ ERROR 17:66 | 7) -> sink | `sample` takes a part and a seed: `sample(0.1, seed = 7)`
