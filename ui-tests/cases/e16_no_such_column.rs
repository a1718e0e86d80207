//! A dead letter has the columns of the row that failed, not those that were computed.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    side: Str,
    price: f64,
}

#[derive(Record)]
struct Sided {
    side: i8,
}

/// Buys are 1.
#[operator]
fn side(text: &str) -> Result<i8, String> {
    if text == "B" { Ok(1) } else { Err(format!("no side `{text}`")) }
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    (good, bad) = trades -> select(|t| row { buy: side(t.side) }) -> dead_letter();
    good -> sink;
    bad -> filter(|t| t.buy > 0) -> sink;
}

fn main() {}

//~ ERROR 28:25 | buy | no field `buy` on type
