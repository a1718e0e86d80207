//! An operator that is not imported.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

mod prices {
    use sabot::prelude::*;

    /// Traded value.
    #[operator]
    pub fn notional(price: f64, qty: i64) -> f64 {
        price * qty as f64
    }
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> with(|t| row { value: notional(t.price, t.qty) }) -> sink;
}

fn main() {}

//~ ERROR 25:37 | notional | cannot find function `notional` in this scope
//~ ALSO consider importing this function
