//! A null in a column that has none.

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

    trades -> select(|t| row Sided { side: side(t.side) }) -> on_error(null) -> sink;
}

fn main() {}

//~ ERROR 26:72 | null | `on_error(null)` stands right behind the `with`, `select` or `map` that may fail, whose row has no name of its own
