//! A join of which only the left side is cut into windows.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
    #[event_time]
    ts: Timestamp<Micros>,
}

#[derive(Record)]
struct Quote {
    id: i64,
    symbol: Str,
    bid: f64,
    #[event_time]
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade>, quotes: Source<Quote>);

    trades -> key_by(symbol) -> window(tumbling(1.sec())) -> join(quotes -> key_by(symbol), |t, q| row { bid: q.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:67 | quotes | the left side of this join is cut into windows, the right side is not
//~ ALSO cut both sides by the same window
