//! A stream that goes nowhere.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    big = trades -> filter(|t| t.qty > 3);
}

fn main() {}

//~ ERROR 15:5 | big | stream `big` goes nowhere; end it with `-> sink(..)` or name it `_big`
