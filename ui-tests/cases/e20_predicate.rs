//! A predicate that may fail, and nobody says what becomes of such rows.

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

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> filter(|t| buys(t.side)) -> sort(price) -> sink;
}

fn main() {}

//~ ERROR 25:43 | sort | a function before this step may return an error: say what becomes of such rows
