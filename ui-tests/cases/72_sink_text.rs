//! A path as a sink.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> sink("trades.csv");
}

fn main() {}

//~ ERROR 15:20 | "trades.csv" | `&str` is not a sink
//~ ALSO use `to("file.parquet")`, or `Sink::custom(..)` for a sink of your own
