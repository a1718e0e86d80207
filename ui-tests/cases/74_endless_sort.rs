//! A sort of a stream that never ends.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> sort(price) -> sink;
}

fn main() {}

//~ ERROR 15:15 | sort | an unbounded stream never ends, so this step would never emit
//~ ALSO declare the source as one that ends: `Source<T, Bounded>`
