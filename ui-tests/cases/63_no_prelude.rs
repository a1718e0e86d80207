//! A record and a pipeline without the prelude.

use sabot::{Record, pipeline};

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> filter(|t| t.price > 3.0) -> sink;
}

fn main() {}

//~ ERROR 7:13 | Str | cannot find type `Str` in this scope
//~ ALSO a builtin type with a similar name exists
//~ ERROR 7:13 | Str | cannot find type `Str` in this scope
//~ ALSO a builtin type with a similar name exists
