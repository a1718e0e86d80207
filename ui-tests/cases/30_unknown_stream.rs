//! A stream that is not defined.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    treads -> filter(|t| t.qty > 3) -> sink;
    trades -> sink;
}

fn main() {}

//~ ERROR 15:5 | treads | no stream `treads` is defined above; did you mean `trades`?
