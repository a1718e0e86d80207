//! A join of keys of different types.

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

    trades -> key_by(symbol) -> join(listed -> key_by(id), |t, l| row { symbol: t.symbol, sector: l.sector }) -> sink;
}

fn main() {}

//~ ERROR 22:38 | listed | cannot join: the left stream is keyed by
//~ ALSO key both sides by columns of the same types, in the same order; of several columns, each must be nullable on both sides or on none
