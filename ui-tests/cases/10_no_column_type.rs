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

//~ ERROR 17:52 | Instant::now() | Instant` cannot be stored in an Arrow column
//~ ALSO columns may be bool, integers, floats, text, `Decimal`, `Date`, `Time`, `Timestamp`, `Duration`, lists or nested records, and `Option` or `Result` of these
