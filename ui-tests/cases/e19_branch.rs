//! A stream that is used twice ends its run.

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

    sided = trades -> with(|t| row { side: side(t.side) });
    sided -> on_error(skip) -> sink;
    sided -> limit(3) -> sink;
}

fn main() {}

//~ ERROR 27:14 | on_error | nothing can fail here: no function in the steps before this one returns a `Result`
//~ ERROR 26:23 | with | a function before this step may return an error: say what becomes of such rows
