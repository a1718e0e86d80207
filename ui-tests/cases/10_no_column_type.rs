//! A value that has no Arrow form.

use std::time::Instant;

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> with(|t| row { price: t.price, seen: Instant::now() }) -> sink;
}

fn main() {}
