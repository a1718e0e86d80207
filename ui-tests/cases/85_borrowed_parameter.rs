//! A parameter that is borrowed.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>, config: &str);

    trades -> filter(|t| t.symbol == config) -> sink;
}

fn main() {}

//~ ERROR 13:45 | & | parameters go to other threads and processes, so they own their values: write `config: String`
