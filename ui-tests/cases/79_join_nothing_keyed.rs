//! A join of two streams without keys.

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

    trades -> join(listed, |t, l| row { symbol: t.symbol, sector: l.sector }) -> sink;
}

fn main() {}
