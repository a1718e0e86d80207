//! A value that may be null, seen by a later step as if it were there.

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

    trades -> with(|t| row { side: side(t.side) }) -> filter(|t| t.side > 0) -> on_error(null) -> sink;
}

fn main() {}

//~ ERROR 26:90 | null | `on_error(null)` stands right behind the `with`, `select` or `map` that may fail, whose row has no name of its own
//~ ALSO a later step would see a value that is not there
