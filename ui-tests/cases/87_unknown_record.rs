//! A source of a record that does not exist.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trde>);

    trades -> filter(|t| t.price > 3.0) -> sink;
}

fn main() {}

//~ ERROR 13:29 | Trde | cannot find type `Trde` in this scope
//~ ALSO a struct with a similar name exists
//~ ERROR 13:29 | Trde | cannot find type `Trde` in this scope
//~ ALSO a struct with a similar name exists
