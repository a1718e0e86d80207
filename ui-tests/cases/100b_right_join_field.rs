//! The left row of a right join, used without `?`.

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

    trades -> key_by(symbol) -> right_join(quotes -> key_by(symbol), |t, q| row { price: t.price, bid: q.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:90 | t.price | `t` is `None` where `right_join` finds no partner: write `t?.price`
