//! A join whose right side is not keyed.

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

    trades -> key_by(symbol) -> join(listed, |t, l| row { symbol: t.symbol, sector: l.sector }) -> sink;
}

fn main() {}

//~ ERROR 22:38 | listed | the right side of a join must be keyed
//~ ALSO add a `key_by(..)` step: `join(listed -> key_by(symbol), |l, r| ..)`
