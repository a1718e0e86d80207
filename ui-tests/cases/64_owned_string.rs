//! An owned string as a column.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: String,
    price: f64,
}

fn main() {}

//~ ERROR 7:13 | String | a column of text is `Str`: write `Str` instead of `String`
