//! Errors of steps that cannot fail.

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

    trades -> with(|t| row { double: t.price * 2.0 }) -> on_error(skip) -> sink;
}

fn main() {}

//~ ERROR 26:58 | on_error | nothing can fail here: no function in the steps before this one returns a `Result`
//~ ALSO it speaks for the row-wise steps (`with`, `select`, `map`)
