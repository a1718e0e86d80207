//! A predicate that is not bool.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> filter(|t| t.price) -> sink;
}

fn main() {}

//~ ERROR 15:26 | t.price | a predicate is true or false of a row, or a `Result` of that, but this is `f64`
//~ ALSO expected `bool` or `Result<bool, _>`
