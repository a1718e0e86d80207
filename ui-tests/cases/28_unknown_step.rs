//! A step that does not exist.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> fliter(|t| t.qty > 3) -> sink;
}

fn main() {}

//~ ERROR 15:15 | fliter | no method named `fliter` found
//~ ALSO there is a method `filter` with a similar name
