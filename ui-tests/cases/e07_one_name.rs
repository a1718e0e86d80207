//! Two streams, one name.

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

    good = trades -> with(|t| row { side: side(t.side) }) -> dead_letter();
    good -> sink;
}

fn main() {}

//~ ERROR 26:62 | dead_letter | `dead_letter()` makes two streams: write `(good, bad) = .. -> dead_letter();`
