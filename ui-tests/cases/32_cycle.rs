//! Streams that use each other.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    a = b -> filter(|t| t.qty > 3);
    b = a -> filter(|t| t.qty < 9);
    trades -> union(b) -> sink;
}

fn main() {}

//~ ERROR 15:9 | b | streams may only use streams defined above: a -> b -> a
