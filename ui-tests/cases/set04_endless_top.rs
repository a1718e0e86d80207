//! The first rows of a stream that never ends.

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

    trades -> top(10, desc(price)) -> sink;
}

fn main() {}

//~ ERROR 17:15 | top | an unbounded stream never ends, so this step would never emit
//~ ALSO add `key_by(..) -> window(global(on_update))` before it, which sends results as they change, or declare the source as one that ends: `Source<T, Bounded>`
