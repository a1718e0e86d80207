//! A source of a struct that is not a record.

use sabot::prelude::*;

struct Trade {
    price: f64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> filter(|t| t.price > 3.0) -> sink;
}

fn main() {}

//~ ERROR 10:29 | Trade | `Trade` is not a record
//~ ALSO add `#[derive(Record)]` to the struct
