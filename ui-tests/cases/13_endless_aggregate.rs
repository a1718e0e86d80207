//! An aggregate over a stream that never ends.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> key_by(symbol) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 15:33 | aggregate | an unbounded stream never ends, so this step would never emit
//~ ALSO add a `window(..)` step before it (`window(global(on_update))` sends results as they change), or declare the source as one that ends: `Source<T, Bounded>`
