//! Dead letters of steps that cannot fail.

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

    (good, bad) = trades -> filter(|t| t.price > 0.0) -> dead_letter();
    good -> sink;
    bad -> sink;
}

fn main() {}

//~ ERROR 26:58 | dead_letter | nothing can fail here: no function in the steps before this one returns a `Result`
