//! Dead letters that nobody reads.

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

    (good, bad) = trades -> with(|t| row { side: side(t.side) }) -> dead_letter();
    good -> sink;
}

fn main() {}

//~ ERROR 26:12 | bad | the rows in `bad` are lost: end it with `-> sink(..)`, or write `-> on_error(skip)` instead of `-> dead_letter()`
