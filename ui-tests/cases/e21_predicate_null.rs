//! A predicate has no value that could be null.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    side: Str,
    price: f64,
}

/// Whether it is a buy.
#[operator]
fn buys(side: &str) -> Result<bool, String> {
    match side {
        "B" => Ok(true),
        "S" => Ok(false),
        _ => Err(format!("no side `{side}`")),
    }
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> filter(|t| buys(t.side)) -> on_error(null) -> sink;
}

fn main() {}

//~ ERROR 25:52 | null | `on_error(null)` stands right behind the `with`, `select` or `map` that may fail
