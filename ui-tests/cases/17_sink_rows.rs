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

//~ ERROR 21:20 | to("alerts.csv").of::<Alert>() | this sink stores `Alert` rows, but the stream carries `Trade` rows
//~ ALSO add a `select(|r| row Alert { .. })` step before the sink
