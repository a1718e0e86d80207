//! A join without a closure.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

#[derive(Record)]
struct Listed {
    id: i64,
    symbol: Str,
    sector: Str,
}

pipeline! {
    pub fn p(trades: Source<Trade>, listed: Source<Listed, Bounded>);

    trades -> key_by(symbol) -> join(listed -> key_by(symbol)) -> sink;
}

fn main() {}

//~ ERROR 22:33 | join | `join` needs a closure that makes the joined row: `join(.., |l, r| row { .. })`
