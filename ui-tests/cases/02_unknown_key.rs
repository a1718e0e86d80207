//! A key column that does not exist.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> key_by(symbl) -> sink;
}

fn main() {}

//~ ERROR 15:22 | symbl | no field `symbl` on type
//~ ALSO a field with a similar name exists
