//! A block without a name and parameters.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    

    trades -> filter(|t| t.price > 3.0) -> sink;
}

fn main() {}

//~ ERROR 15:5 | trades | a pipeline begins with its name and parameters: `pub fn name(source: Source<Record>, limit: i64);`
