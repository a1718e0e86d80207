//! A named row that may fail.

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

    trades -> select(|t| row Sided { side: side(t.side) }) -> sink;
}

fn main() {}

//~ ERROR 26:63 | sink | a function before this step may return an error: say what becomes of such rows
