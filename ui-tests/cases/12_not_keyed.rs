//! State per key on a stream without a key.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

#[derive(State, Default)]
struct Last {
    price: f64,
}

/// Change since the last trade.
#[operator]
fn change(last: &mut Last, price: f64) -> Option<f64> {
    let change = price - last.price;
    last.price = price;
    Some(change)
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> keyed(|t| row { change: change(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 28:15 | keyed | this step keeps state per key, but the stream is not keyed
//~ ALSO add a `key_by(..)` step before it
