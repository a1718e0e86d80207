//! A join whose left side is not keyed.

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

    trades -> join(listed -> key_by(symbol), |t, l| row { symbol: t.symbol, sector: l.sector }) -> sink;
}

fn main() {}

//~ ERROR 22:15 | join | the left side of a join must be keyed
//~ ALSO add a `key_by(..)` step before it
