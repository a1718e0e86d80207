//! A row that may be missing, used without `?`.

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

    trades -> key_by(symbol) -> left_join(quotes -> key_by(symbol), |t, q| row { price: t.price, bid: q.bid }) -> sink;
}

fn main() {}

//~ ERROR 26:103 | q.bid | `q` is `None` where `left_join` finds no partner: write `q?.bid`
