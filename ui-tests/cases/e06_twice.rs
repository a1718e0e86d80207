//! Two policies for one step.

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

    trades -> with(|t| row { side: side(t.side) }) -> on_error(null) -> on_error(skip) -> sink;
}

fn main() {}

//~ ERROR 26:73 | on_error | errors of the steps before it are dealt with already
