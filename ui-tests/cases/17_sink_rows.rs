//! A sink for rows of another record.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

#[derive(Record)]
struct Alert {
    symbol: Str,
    total: f64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> sink(to("alerts.csv").of::<Alert>());
}

fn main() {}
