//! A step behind dead letters.

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

    (good, bad) = trades -> with(|t| row { side: side(t.side) }) -> dead_letter() -> limit(3);
    good -> sink;
    bad -> sink;
}

fn main() {}

//~ ERROR 26:86 | limit | `dead_letter()` ends its statement: go on with each of its two streams by name
