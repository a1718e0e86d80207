//! The condition of a join that may fail.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    side: Str,
    price: f64,
}

/// Whether it is a buy.
#[operator]
fn buys(side: &str) -> Result<bool, String> {
    match side {
        "B" => Ok(true),
        "S" => Ok(false),
        _ => Err(format!("no side `{side}`")),
    }
}

#[derive(Record)]
struct Quote {
    symbol: Str,
    bid: f64,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>, quotes: Source<Quote, Bounded>);

    trades -> key_by(symbol) -> join(quotes -> key_by(symbol), on = |t, _| buys(t.side), |t, q| row { bid: q.bid }) -> sink;
}

fn main() {}

//~ ERROR 31:76 | buys(t.side) | `on` is true or false of a pair of rows, but this is
//~ ALSO call a function that may fail before the join
