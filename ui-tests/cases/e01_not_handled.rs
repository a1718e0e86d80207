//! A function that may fail, and nobody says what becomes of its errors.

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

    trades -> with(|t| row { side: side(t.side) }) -> sort(price) -> sink;
}

fn main() {}

//~ ERROR 26:55 | sort | a function before this step may return an error: say what becomes of such rows
//~ ALSO put one of these before it: `-> on_error(skip)` drops the row
