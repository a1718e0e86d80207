//! A named row of a record in another module.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

mod alerts {
    use sabot::prelude::*;

    #[derive(Record)]
    pub struct Alert {
        pub symbol: Str,
        pub total: f64,
    }
}
use alerts::Alert;

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> select(|t| row Alert { symbol: t.symbol, total: t.price }) -> sink;
}

fn main() {}
