//! Arithmetic with a window function.

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

    trades -> over(ts, |t| row { n: row_number() + 1, r: rank(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 17:50 | + 1 | a window function stands alone in its column: compute with its result in a step behind, `with(|t| row { n: t.n .. })`
//~ ERROR 17:63 | t.price | `rank` takes no argument: it goes by the order of `over`
