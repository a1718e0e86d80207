//! A column that does not exist, in an expression.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> filter(|t| t.prize > 0.0) -> sink;
}

fn main() {}

//~ ERROR 15:28 | prize | no field `prize` on type
//~ ALSO a field with a similar name exists
