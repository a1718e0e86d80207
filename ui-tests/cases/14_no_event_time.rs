//! A window over a stream without event time.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> key_by(symbol) -> window(tumbling(1.minute())) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
}

fn main() {}
