//! An owned string as a column.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: String,
    price: f64,
}

fn main() {}
