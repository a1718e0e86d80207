//! A result of rows that never end.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
    #[event_time]
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> reduce(|a, b| if b.price > a.price { b } else { a }) -> sink;
}

fn main() {}

//~ ERROR 17:15 | reduce | an unbounded stream never ends, so this step would never emit
//~ ALSO add `key_by(..) -> window(global(on_update))` before it, which sends results as they change, or declare the source as one that ends: `Source<T, Bounded>`
