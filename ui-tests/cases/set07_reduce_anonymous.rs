//! Rows without a name.

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
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> with(|t| row { value: t.price * 2.0 }) -> key_by(symbol) -> reduce(|a, b| if b.value > a.value { b } else { a }) -> sink;
}

fn main() {}

//~ ERROR 17:75 | reduce | `reduce` takes rows of a named record, but these have no name; name them first: `select(|t| row Trade { .. })`
