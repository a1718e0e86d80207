//! A column that does not exist, in an aggregate.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(symbol) -> aggregate(|t| row { total: sum(t.prize) }) -> sink;
}

fn main() {}

//~ ERROR 15:66 | prize | no field `prize` on type
//~ ALSO a field with a similar name exists
