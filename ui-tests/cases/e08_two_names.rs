//! Two names, one stream.

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

    (good, bad) = trades -> with(|t| row { side: side(t.side) }) -> on_error(skip);
    good -> sink;
    bad -> sink;
}

fn main() {}

//~ ERROR 26:5 | ( | two names of streams stand here, but no step makes two: end the statement with `-> dead_letter();`, `-> bad_rows();`, `-> late_rows();` or a `keyed(..)` that has a second output
