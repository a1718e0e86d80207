//! A policy that does not exist.

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

    trades -> with(|t| row { side: side(t.side) }) -> on_error(nul) -> sink;
}

fn main() {}

//~ ERROR 26:64 | nul | `on_error` takes `fail`, `null` or `skip`; did you mean `null`?
