//! A nullable column in arithmetic.

use sabot::prelude::*;

#[derive(Record)]
struct Quote {
    symbol: Str,
    bid: Option<f64>,
    size: i64,
}

pipeline! {
    pub fn p(quotes: Source<Quote>);

    quotes -> with(|q| row { twice: q.bid * 2.0 }) -> sink;
}

fn main() {}

//~ UNTEXTED the text shows a line of the standard library if `rust-src` is installed
//~ ERROR 15:43 | * | cannot multiply `Option<f64>` by `{float}`
