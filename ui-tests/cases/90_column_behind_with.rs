//! A column that does not exist, behind a `with`.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> with(|t| row { value: t.price * t.qty as f64 }) -> filter(|t| t.valeu > 3.0) -> sink;
}

fn main() {}

//~ ERROR 15:79 | valeu | no field `valeu` on type
//~ ALSO available fields are: `symbol`, `price`, `qty`
//~ ALSO a field with a similar name exists
