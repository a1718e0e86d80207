//! A condition that is no closure of two rows.

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
    pub fn p(trades: Source<Trade, Bounded>, quotes: Source<Quote, Bounded>);

    trades -> key_by(symbol) -> join(quotes -> key_by(symbol), on = |t| t.qty > 3, |t, q| row { bid: q.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:69 | |t| t.qty | `on` is a condition on a pair of rows: write `on = |l, r| l.price <= r.limit`
